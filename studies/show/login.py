"""Who is let in: by a password or token sent with each request, or by a session that the login page began.

Passwords and tokens are the same to us: secrets that the server was started with, any of which opens it. HTTP Basic and
`Authorization: Bearer` are for scripts, the page for people. A session is a signed cookie that ends after some hours,
at its logout, or with the server. Each login, right or wrong, is a line of the audit log; a guess never is.

Pure standard library.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qs, quote

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

AUDIT = logging.getLogger("studies.show.audit")

GUESSES = 10
GUESS_SECONDS = 60.0
REMEMBERED_ADDRESSES = 1024
SESSION_SECONDS = 12 * 3600
LOGIN_BODY_BYTES = 4096
LOGIN_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

LoginPage = Callable[[str, str, bool], str]
"""The login page's HTML: from what went wrong, or "", the path to go on to, and whether one is logged in."""


class Password:
    """Checks what is sent against the secrets; any user name will do. Safe to use from several threads.

    The right one always passes: behind a proxy or a gateway, whoever guesses has everybody's address.
    """

    def __init__(self, *known: str, clock: Callable[[], float] = time.monotonic) -> None:
        if not known or not all(known):
            raise ValueError("the password is empty")
        self._digests = [hashlib.sha256(secret.encode()).digest() for secret in known]
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: dict[str, list[float]] = {}

    def check(self, authorization: str, address: str) -> str:
        """`right`, `missing` (nothing was sent), `wrong`, or `blocked` (wrong, and too often from this address)."""
        return self.guess(_credentials(authorization), address) if authorization else "missing"

    def guess(self, given: bytes, address: str) -> str:
        """The same of a password as such."""
        digest = hashlib.sha256(given).digest()
        # Equal lengths, compare_digest and no early end: the time taken tells nothing about the secrets.
        if sum(hmac.compare_digest(digest, known) for known in self._digests):
            return "right"
        counted = _neighbourhood(address)
        with self._lock:
            since = self._clock() - GUESS_SECONDS
            recent = [when for when in self._failures.pop(counted, ()) if when > since]
            blocked = len(recent) >= GUESSES
            self._failures[counted] = recent if blocked else [*recent, self._clock()]
            while len(self._failures) > REMEMBERED_ADDRESSES:
                del self._failures[next(iter(self._failures))]
        return "blocked" if blocked else "wrong"


def _credentials(authorization: str) -> bytes:
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip().encode("latin-1", "replace")
    if scheme.lower() != "basic":
        return b""
    try:
        return base64.b64decode(credentials.strip(), validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return b""


def _neighbourhood(address: str) -> str:
    """What guesses are counted for: an address, but of IPv6 the 64 bits that a network gives away, not the host's."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(parsed) if parsed.version == 4 else f"{int(parsed) >> 64:x}::/64"


class Sessions:
    """Cookies that we signed. The key is this server's and in memory only: its end is the end of all sessions."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._key = secrets.token_bytes(32)
        # Cookies know no ports: of several servers on one host, each needs a name of its own.
        self.cookie = f"alexsearch_{secrets.token_hex(4)}"
        self._lock = threading.Lock()
        self._ended: dict[str, int] = {}

    def begin(self) -> str:
        """A new session, as the cookie's value."""
        body = f"{secrets.token_hex(16)}.{int(self._clock()) + SESSION_SECONDS}"
        return f"{body}.{self._signature(body)}"

    def find(self, cookies: str) -> str | None:
        """The id of the session that a Cookie header holds, if it holds one that is signed, not over and not ended."""
        for cookie in cookies.split(";"):
            name, _, value = cookie.strip().partition("=")
            body, _, signature = value.rpartition(".")
            session, _, ends = body.partition(".")
            signed = hmac.compare_digest(signature.encode(), self._signature(body).encode())
            if name == self.cookie and signed and int(ends) > self._clock() and session not in self._ended:
                return session
        return None

    def end(self, session: str) -> None:
        """The session is over, whoever may have kept its cookie."""
        now = int(self._clock())
        with self._lock:
            self._ended = {old: until for old, until in self._ended.items() if until > now}
            self._ended[session] = now + SESSION_SECONDS

    def _signature(self, body: str) -> str:
        return hmac.new(self._key, body.encode(), hashlib.sha256).hexdigest()


class Visitor(NamedTuple):
    """Who sends a request."""

    verdict: str
    """As `Password.check` gives it."""
    who: str
    """In the audit log's words."""


class Answer(NamedTuple):
    """What to answer in place of the application."""

    status: str
    text: str
    headers: tuple[tuple[str, str], ...] = ()
    kind: str = "text/plain"


class Login:
    """The door: tells who sends a request, and answers at /login and /logout. `page` makes the login page."""

    def __init__(self, password: Password, page: LoginPage, sessions: Sessions | None = None) -> None:
        self._password, self._page = password, page
        self._sessions = sessions or Sessions()
        self._seen: dict[tuple[str, str], float] = {}

    def visitor(self, environ: WSGIEnvironment) -> Visitor:
        """Who sends this request. A wrong password is counted and told to the audit log, so ask once a request."""
        session = self._sessions.find(environ.get("HTTP_COOKIE", ""))
        if session is not None:
            return Visitor("right", f"session {session[:8]}")
        authorization, address = environ.get("HTTP_AUTHORIZATION", ""), environ.get("REMOTE_ADDR", "")
        verdict, who = self._password.check(authorization, address), _means(authorization)
        if verdict == "wrong":
            AUDIT.warning("login: wrong password from %s, by %s", address, who)
        elif verdict == "right" and self._is_new(address, who):
            AUDIT.info("login: right password from %s, by %s", address, who)
        return Visitor(verdict, who)

    def _is_new(self, address: str, who: str) -> bool:
        """Scripts send it with each request: one line per address and hour says it."""
        now, before = time.monotonic(), self._seen.get((address, who))
        if before is not None and now - before < 3600:
            return False
        if len(self._seen) >= REMEMBERED_ADDRESSES:
            self._seen.clear()
        self._seen[address, who] = now
        return True

    def refused(self, visitor: Visitor, environ: WSGIEnvironment) -> Answer:
        """What somebody gets to see who is not let in."""
        if visitor.verdict == "blocked":
            return Answer(*_TOO_MANY)
        if environ["REQUEST_METHOD"] in ("GET", "HEAD") and _is_browser(environ) and _is_page(environ["PATH_INFO"]):
            path, query = quote(environ["PATH_INFO"], safe="/", encoding="latin-1"), environ.get("QUERY_STRING", "")
            there = quote(f"{path}?{query}" if query else path, safe="/", encoding="latin-1")
            return Answer("303 See Other", "", (("Location", f"/login?next={there}"),))
        # The challenge makes browsers ask in a window of their own: pages that look for news in the background
        # must not open it.
        challenge = () if _is_browser(environ) else (("WWW-Authenticate", 'Basic realm="alexsearch", charset="UTF-8"'),)
        text = "The dashboard's password, please. Any user name. In a browser: /login.\n"
        return Answer("401 Unauthorized", text, challenge)

    def answer(self, environ: WSGIEnvironment) -> Answer | None:
        """What is answered at /login and /logout; None at any other address. The caller has checked the origin."""
        path, method = environ["PATH_INFO"].rstrip("/"), environ["REQUEST_METHOD"]
        if path == "/login" and method in ("GET", "HEAD"):
            onwards = _form(environ.get("QUERY_STRING", "").encode("latin-1")).get("next", "/")
            logged_in = self._sessions.find(environ.get("HTTP_COOKIE", "")) is not None
            return self._shown("200 OK", "", onwards, logged_in=logged_in)
        if path == "/login" and method == "POST":
            return self._try(_form(environ["wsgi.input"].read(LOGIN_BODY_BYTES)), environ)
        if path == "/logout" and method == "POST":
            session = self._sessions.find(environ.get("HTTP_COOKIE", ""))
            if session is not None:
                self._sessions.end(session)
                AUDIT.info("logout: session %s from %s", session[:8], environ.get("REMOTE_ADDR", ""))
            return self._to("/login", "", 0, environ)
        if path in ("/login", "/logout"):
            return Answer(
                "405 Method Not Allowed", "Not here.\n", (("Allow", "POST" if path == "/logout" else "GET, POST"),)
            )
        return None

    def _try(self, form: Mapping[str, str], environ: WSGIEnvironment) -> Answer:
        address, onwards = environ.get("REMOTE_ADDR", ""), form.get("next", "/")
        verdict = self._password.guess(form.get("password", "").encode("utf-8", "replace"), address)
        if verdict == "right":
            value = self._sessions.begin()
            AUDIT.info("login: right password from %s, by the login page, session %s", address, value[:8])
            return self._to(_local(onwards), value, SESSION_SECONDS, environ)
        if verdict == "blocked":
            return self._shown(*_TOO_MANY[:2], onwards)
        AUDIT.warning("login: wrong password from %s, by the login page", address)
        return self._shown("403 Forbidden", "That is not the password.", onwards)

    def _shown(self, status: str, text: str, onwards: str, *, logged_in: bool = False) -> Answer:
        policy = (("Content-Security-Policy", LOGIN_POLICY),)
        return Answer(status, self._page(text, _local(onwards), logged_in), policy, "text/html")

    def _to(self, path: str, value: str, seconds: int, environ: WSGIEnvironment) -> Answer:
        secure = "; Secure" if environ.get("wsgi.url_scheme") == "https" else ""
        cookie = f"{self._sessions.cookie}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"
        return Answer("303 See Other", "", (("Location", path), ("Set-Cookie", cookie)))


_TOO_MANY = (
    "429 Too Many Requests",
    "Too many wrong passwords from this address. The right one still opens it.\n",
    (("Retry-After", str(int(GUESS_SECONDS))),),
)


def _form(sent: bytes) -> dict[str, str]:
    """The fields of a form or a query, the last of each name; what can't be read is empty."""
    try:
        return {name: values[-1] for name, values in parse_qs(sent.decode("ascii"), max_num_fields=10).items()}
    except ValueError:
        return {}


def _local(path: str) -> str:
    """A path of ours to go on to, as a Location header may hold it: never another host's, nor one of two lines."""
    is_ours = path.startswith("/") and not path.startswith(("//", "/\\", "/login", "/logout"))
    return quote(path, safe="/?&=%,+") if is_ours else "/"


def _is_browser(environ: WSGIEnvironment) -> bool:
    # Sec-Fetch-Mode comes by TLS or from this machine only, Referer from our own pages, Accept where one is opened.
    given = "HTTP_SEC_FETCH_MODE" in environ or "HTTP_REFERER" in environ
    return (given or "text/html" in environ.get("HTTP_ACCEPT", "")) and "HTTP_AUTHORIZATION" not in environ


def _is_page(path: str) -> bool:
    return path in ("", "/") or path.startswith(("/studies", "/dashboard"))


def _means(authorization: str) -> str:
    """How it is tried, for the audit log: not the user name, in whose field a password is easily typed."""
    scheme = authorization.partition(" ")[0].lower()
    return {"basic": "HTTP Basic", "bearer": "a bearer token"}.get(scheme, "an unknown scheme")
