"""Who may use the review page: this machine's user by default; from elsewhere whoever has the token.

A write must come from the page itself: a foreign page in the same browser can neither set its own header nor hide
where it comes from.
"""

import hmac
import ipaddress
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from fastapi import Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from lineact.errors import ConfigError, InputError
from lineact.secret_file import read_secret

OWN_HEADER = "x-lineact-review"  # a foreign form cannot send it; a foreign script needs leave, and gets none
LEAST_TOKEN_LENGTH = 16
MOST_BODY_BYTES = 2**20
READING = ("GET", "HEAD")
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
Next = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Access:
    """Where the page is served and to whom.

    Attributes:
        host: address to listen on.
        port: to listen on.
        token: what a browser must show, "" where this machine alone reaches the page.
        token_file: where the token was read from; "" where it is a random one, or none.
    """

    host: str
    port: int
    token: str
    token_file: str = ""

    @property
    def cookie(self) -> str:
        """The cookie's name: a browser sends a host's cookies to all its ports, where other lines' pages may be."""
        return f"lineact_review_{self.port}"

    @property
    def url(self) -> str:
        """The page's address, without the token."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}/"

    def answers_to(self, host: str) -> bool:
        """Whether requests with this Host header are answered: where a token is asked for, it keeps strangers out."""
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            return False
        return bool(self.token) or name in (self.host, "localhost")


def access_of(host: str, port: str, token_file: str) -> Access:
    """The access that was asked for.

    Args:
        host: address to listen on.
        port: to listen on.
        token_file: file with the token; "" for a random one, where one is needed.

    Raises:
        ConfigError: where the host is no address, or the port no port.
        InputError: where the file is missing, too short, or readable by others.
    """
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigError(f"port={port}: expected a number from 1 to 65535")
    try:
        address = ipaddress.ip_address(host)
    except ValueError as error:
        raise ConfigError(f"host={host}: expected an address of this machine such as 127.0.0.1 or 0.0.0.0") from error
    if token_file:
        return Access(address.compressed, int(port), _token_in(Path(token_file)), token_file)
    return Access(address.compressed, int(port), "" if address.is_loopback else secrets.token_urlsafe(24))


def _token_in(path: Path) -> str:
    token = read_secret(path, "token")
    if len(token) < LEAST_TOKEN_LENGTH or not token.isascii() or (not token.isalnum() and set(token) - _URL_SAFE):
        raise InputError(
            f"{path}: expected at least {LEAST_TOKEN_LENGTH} letters, digits, - or _ on one line; "
            "python -c 'import secrets; print(secrets.token_urlsafe(24))' makes one"
        )
    return token


_URL_SAFE = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")


def guard(access: Access) -> Callable[[Request, Next], Awaitable[Response]]:
    """The middleware that lets a request through or refuses it, and stamps every reply."""

    async def guarded(request: Request, call_next: Next) -> Response:
        response = _entered(request, access) or _refused(request, access) or await call_next(request)
        response.headers.update(HEADERS)
        response.headers.setdefault("Cache-Control", "no-cache")  # this version's page with no older script
        return response

    return guarded


def _entered(request: Request, access: Access) -> Response | None:
    """The printed address carries the token; it moves to a cookie, so that it stays in no history."""
    shown = request.query_params.get("token")
    if not access.token or request.url.path != "/" or shown is None or not _same(shown, access.token):
        return None
    response = RedirectResponse("/", status_code=303)
    response.set_cookie(access.cookie, access.token, httponly=True, samesite="strict")
    return response


def _refused(request: Request, access: Access) -> Response | None:
    host = request.headers.get("host", "")
    if not access.answers_to(host):  # a foreign page whose name resolves to this machine must not read or answer
        return _told(400, f"expected the host {access.url}, found {host!r}")
    if access.token and not _same(request.cookies.get(access.cookie, ""), access.token):
        return _told(401, "open the address that the command printed: it carries the token")
    if request.method in READING:
        return None
    origin = request.headers.get("origin")
    foreign = origin is not None and origin.partition("://")[2] != host
    if foreign or request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return _told(403, "answers are taken from the page itself alone")
    if OWN_HEADER not in request.headers:
        return _told(403, f"expected the header {OWN_HEADER}, which the page sends")
    length = request.headers.get("content-length", "")
    if not length.isdecimal() or int(length) > MOST_BODY_BYTES:
        return _told(413, f"expected a body of at most {MOST_BODY_BYTES} bytes")
    return None


def _same(shown: str, token: str) -> bool:
    return hmac.compare_digest(shown.encode(), token.encode())


def _told(status: int, detail: str) -> Response:
    return JSONResponse({"detail": detail}, status)
