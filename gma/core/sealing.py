"""Hashes and seals: what is stored reveals nothing without the browser's cookie.

Pure; randomness is handed in.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from nacl.secret import SecretBox

NONCE_OCTETS = SecretBox.NONCE_SIZE


def digest(secret: str) -> bytes:
    """The hash under which a random secret is stored and found; 32 octets.

    A plain hash is enough: what goes in has at least 128 bits of chance.
    """
    return hashlib.sha256(secret.encode()).digest()


def seal_verifier(verifier: str, cookie: str, nonce: bytes) -> bytes:
    """A PKCE verifier that only the holder of the cookie can open.

    :param nonce: fresh, of :data:`NONCE_OCTETS`.
    """
    return bytes(_box(cookie).encrypt(verifier.encode(), nonce))


def open_verifier(sealed: bytes, cookie: str) -> str:
    """The verifier back.

    :raises nacl.exceptions.CryptoError: where the cookie is another or the seal was changed.
    """
    return _box(cookie).decrypt(sealed).decode()


def code_challenge(verifier: str) -> str:
    """The S256 challenge of a verifier (RFC 7636 §4.2)."""
    return (
        urlsafe_b64encode(hashlib.sha256(verifier.encode("ascii")).digest()).rstrip(b"=").decode()
    )


def _box(cookie: str) -> SecretBox:
    # HKDF (RFC 5869) keeps this key apart from the stored hash of the same cookie.
    kdf = HKDF(algorithm=SHA256(), length=SecretBox.KEY_SIZE, salt=None, info=b"gma pkce verifier")
    return SecretBox(kdf.derive(cookie.encode()))
