"""What is stored opens with the browser's cookie, and with nothing else."""

from __future__ import annotations

from nacl.exceptions import CryptoError
from nacl.secret import SecretBox
from twisted.trial.unittest import SynchronousTestCase

from gma.core.sealing import NONCE_OCTETS, code_challenge, digest, open_verifier, seal_verifier

_VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
_COOKIE = "c29tZSBicm93c2VyJ3Mgc2VjcmV0LCAzMiBvY3RldHM"
_NONCE = bytes(range(NONCE_OCTETS))


class DigestTests(SynchronousTestCase):
    """The hash under which secrets are found."""

    def test_sha256(self) -> None:
        """The hash is SHA-256, as FIPS 180-2 shows it for abc."""
        self.assertEqual(
            digest("abc").hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        )


class VerifierTests(SynchronousTestCase):
    """The sealed PKCE verifier."""

    def setUp(self) -> None:
        """A sealed verifier."""
        self.sealed = seal_verifier(_VERIFIER, _COOKIE, _NONCE)

    def test_round_trip(self) -> None:
        """The cookie that sealed a verifier opens it."""
        self.assertEqual(open_verifier(self.sealed, _COOKIE), _VERIFIER)

    def test_other_cookies(self) -> None:
        """No other cookie opens it, however near."""
        others = (_COOKIE[:-1], f"{_COOKIE}=", f"{_COOKIE} ", _COOKIE.swapcase(), _VERIFIER, "")
        for cookie in others:
            self.assertRaises(CryptoError, open_verifier, self.sealed, cookie)

    def test_changed(self) -> None:
        """A seal of which any octet was changed does not open."""
        for place in range(len(self.sealed)):
            changed = bytearray(self.sealed)
            changed[place] ^= 1
            self.assertRaises(CryptoError, open_verifier, bytes(changed), _COOKIE)

    def test_cut(self) -> None:
        """A seal that was cut off does not open."""
        self.assertRaises(CryptoError, open_verifier, self.sealed[:-1], _COOKIE)

    def test_hidden(self) -> None:
        """The seal holds nothing of verifier or cookie in clear."""
        for secret in (_VERIFIER, _COOKIE):
            self.assertNotIn(secret[:8].encode(), self.sealed)

    def test_nonce(self) -> None:
        """Under another nonce the same verifier looks different throughout."""
        other = seal_verifier(_VERIFIER, _COOKIE, bytes(NONCE_OCTETS))
        self.assertNotIn(other[NONCE_OCTETS:][:16], self.sealed)

    def test_hash_is_no_key(self) -> None:
        """The stored hash of the cookie is not the key of the seal."""
        self.assertRaises(CryptoError, SecretBox(digest(_COOKIE)).decrypt, self.sealed)


class CodeChallengeTests(SynchronousTestCase):
    """PKCE."""

    def test_rfc_7636(self) -> None:
        """The challenge of the verifier of RFC 7636 appendix B is the one that stands there."""
        self.assertEqual(code_challenge(_VERIFIER), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM")
