"""The words of every page: what happened, for which app and host, and what to do next.

Knows what people read. Knows nothing of HTML, of requests or of how a login goes. What a host
says of an error is never shown, only words of our own for its code.
"""

from __future__ import annotations

from gma.web.pages.page import Page, Tone, isolated

_LOG_IN_AGAIN = "Go back to {app} and log in again."
_WAIT = "Wait a few minutes, then go back to {app} and log in again."
_TELL_THE_MAKERS = "If it happens again, please tell the people who make {app}."
_BEGIN_IN_THE_APP = "To log in, begin in the app: it opens the right page."

_NOT_UNDERSTOOD = (
    "{host} did not understand what it was asked, so the login ended there.",
    "Please tell the people who make {app}; logging in again will probably not help.",
)
_NOT_KNOWN = (
    "{host} did not recognize {app}, so the login ended there.",
    f"{_LOG_IN_AGAIN} {_TELL_THE_MAKERS}",
)
_OTHER_TROUBLE = (
    "{host} could not complete the login.",
    f"{_LOG_IN_AGAIN} {_TELL_THE_MAKERS}",
)
# What happened and what to do next, for the codes of RFC 6749 (4.1.2.1 and 5.2) and RFC 8628 (3.5).
_HOST_TROUBLE = {
    "access_denied": (
        "{host} did not give {app} access to the account.",
        "If that is not what you wanted, go back to {app} and log in again.",
    ),
    "invalid_client": _NOT_KNOWN,
    "invalid_grant": (
        "{host} did not accept the login when it was about to be completed. "
        "That can happen when it takes a little long.",
        f"{_LOG_IN_AGAIN} {_TELL_THE_MAKERS}",
    ),
    "invalid_request": _NOT_UNDERSTOOD,
    "invalid_scope": (
        "{host} does not offer everything that {app} asks for.",
        "Please tell the people who make {app}; logging in again will probably not help.",
    ),
    "server_error": (
        "Something went wrong at {host}, and the login could not be completed.",
        f"{_WAIT} If it happens again, the people who run {{host}} may know more.",
    ),
    "slow_down": (
        "{host} has a lot to do just now and asked for a little patience.",
        _WAIT,
    ),
    "temporarily_unavailable": (
        "{host} could not answer just now.",
        _WAIT,
    ),
    "unauthorized_client": _NOT_KNOWN,
    "unsupported_grant_type": _NOT_UNDERSTOOD,
    "unsupported_response_type": _NOT_UNDERSTOOD,
}


def front(app_name: str, app_website: str, socket_url: str) -> Page:
    """What this is, for whoever comes without a link.

    :param app_website: an http(s) URL.
    :param socket_url: where programs reach the WebSocket.
    """
    app = isolated(app_name)
    return Page(
        status=200,
        title=f"Log in to {app} with Mastodon",
        sentences=(
            f"When you log in to {app} with a Mastodon account, you come through here on the way "
            "to your host and back.",
            f"There is nothing to do on this page: begin in {app}. Only your host asks for your "
            "password; this service never does.",
        ),
        links=((f"Go to {app}", app_website),),
        notes=(
            f"For developers: apps begin a login over the WebSocket at {isolated(socket_url)}. "
            "gma is free software under the MIT licence.",
        ),
    )


def done(app_name: str, host: str) -> Page:
    """The login is complete, and the app has received it."""
    return Page(
        status=200,
        title="You are logged in",
        sentences=(
            f"{isolated(app_name)} can now use your account at {isolated(host)}.",
            "You can close this page and go back to the app.",
        ),
        facts=_facts(app_name, host),
        tone=Tone.GOOD,
    )


def undelivered(app_name: str, host: str) -> Page:
    """The user authorized the app, which was no longer there to receive it."""
    app = isolated(app_name)
    return Page(
        status=200,
        title="The app is no longer connected",
        sentences=(
            f"You did authorize {app} at {isolated(host)}, but {app} was no longer connected to "
            "receive it. Nothing was handed over.",
            _LOG_IN_AGAIN.format(app=app),
        ),
        facts=_facts(app_name, host),
    )


def unrecorded(app_name: str, host: str) -> Page:
    """How the login ended could not be noted; the app may well have what it needs."""
    app, at = isolated(app_name), isolated(host)
    return Page(
        status=503,
        title="Your login may have worked",
        sentences=(
            f"You came back from {at}, but how it ended could not be noted here.",
            f"Look in {app}. If you are not logged in there, log in again.",
        ),
        facts=_facts(app_name, host),
    )


def declined(app_name: str, host: str) -> Page:
    """The user, or the host in the user's name, said no."""
    app = isolated(app_name)
    return Page(
        status=200,
        title="The login was declined",
        sentences=(
            f"{app} did not get access to your account at {isolated(host)}. "
            "Nothing was handed over.",
            f"You can close this page. To log in after all, go back to {app} and begin again.",
        ),
        facts=_facts(app_name, host),
    )


def host_failed(app_name: str, host: str, error: str) -> Page:
    """The host ended the login with an error, or did not manage to complete it.

    :param error: an OAuth error code; one that is not in our table is not shown.
    """
    names = {"app": isolated(app_name), "host": isolated(host)}
    code = (("Error", error),) if error in _HOST_TROUBLE else ()
    return Page(
        status=502,
        title="The login was not completed",
        sentences=tuple(
            sentence.format_map(names) for sentence in _HOST_TROUBLE.get(error, _OTHER_TROUBLE)
        ),
        facts=_facts(app_name, host) + code,
        tone=Tone.BAD,
    )


def expired() -> Page:
    """The link was good once, and its time is over."""
    return Page(
        status=410,
        title="This link has expired",
        sentences=(
            "For your safety a login link works for a short time only, and the time of this one "
            "is over.",
            "Go back to the app and log in again: you will get a new link.",
        ),
    )


def unknown() -> Page:
    """No login that this browser may see: the one answer to foreign ids and refused callbacks."""
    return Page(
        status=404,
        title="This link is not known here",
        sentences=(
            "It may be too old, a part of it may have been lost on the way, or the login was begun "
            "in another browser.",
            "Go back to the app, log in again, and stay in the browser that opens.",
        ),
    )


def not_found() -> Page:
    """There is nothing at this address, whoever asks."""
    return Page(
        status=404,
        title="There is no such page",
        sentences=("This address leads nowhere.", _BEGIN_IN_THE_APP),
    )


def bad_request() -> Page:
    """What arrived could not be understood."""
    return Page(
        status=400,
        title="That could not be understood",
        sentences=(
            "What your browser sent did not arrive here in a form that can be used.",
            "Go back to the app and log in again.",
        ),
        tone=Tone.BAD,
    )


def method_not_allowed(allow: str) -> Page:
    """The address is right, the HTTP method is not.

    :param allow: the methods that it takes, as in the header of that name.
    """
    return Page(
        status=405,
        title="This address works another way",
        sentences=(
            "The request came with an HTTP method that is of no use at this address.",
            _BEGIN_IN_THE_APP,
        ),
        facts=(("Allowed", allow),),
        headers=(("Allow", allow),),
    )


def upgrade_required() -> Page:
    """The socket's address was opened as a page."""
    return Page(
        status=426,
        title="This address is for programs",
        sentences=(
            "Apps that speak WebSocket connect here; there is nothing for a browser to show.",
            _BEGIN_IN_THE_APP,
        ),
        headers=(("Upgrade", "websocket"), ("Connection", "Upgrade")),
    )


def foreign_origin() -> Page:
    """A web page wanted to use the socket, from an origin that is not allowed to."""
    return Page(
        status=403,
        title="This web page may not connect",
        sentences=(
            "A web page tried to use the socket at this address, and its origin is not among those "
            "that are allowed to.",
            "If you make the app: ask whoever runs this service for it to allow the origin.",
            "If you run the service: add the origin to allowed_origins in its configuration.",
        ),
        tone=Tone.BAD,
    )


def server_error() -> Page:
    """The service itself failed."""
    return Page(
        status=500,
        title="Something went wrong here",
        sentences=(
            "The trouble is on our side.",
            "Go back to the app and log in again. If it happens again, please tell the people who "
            "make the app.",
        ),
        tone=Tone.BAD,
    )


def _facts(app_name: str, host: str) -> tuple[tuple[str, str], ...]:
    """Whose login this is, at a glance."""
    return ("App", app_name), ("Host", host)
