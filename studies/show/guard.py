"""What stands between the network and a web application that trusts everybody.

optuna-dashboard has no authentication, answers to any Host header and lets whoever reaches it rename, tell or delete
trials, which crashes live workers. Its artifacts come inline as whatever type they were stored with, readable from
every origin. `guard` wraps such a WSGI application and decides, in this order:

1. Is the Host header one of ours? A foreign one means DNS rebinding: a page elsewhere whose name was pointed at us.
2. `/healthz` is answered, to anybody: "ok" or 503.
3. Is the password right? Ten wrong ones from an address within a minute, and it has to wait.
4. Is the method allowed? GET and HEAD; with `allow_edits` the others too, when Origin (or Referer) is our own.
5. The application answers. Headers that open the page to other origins are taken away, those that close it are added.

Pure standard library: it knows nothing of Optuna.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import threading
import time
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
READING = ("GET", "HEAD")
EDITING = (*READING, "POST", "PUT", "PATCH", "DELETE")

# Stands beside the application's own policy: a browser obeys both. 'self', not 'none': the dashboard may frame itself.
PAGE_POLICY = "frame-ancestors 'self'; base-uri 'self'; form-action 'self'; object-src 'none'"
# An artifact is a file somebody stored: opened, it must not be a page of this origin. <img> and fetch don't care.
ARTIFACT_POLICY = "sandbox; default-src 'none'"

GUESSES = 10
GUESS_SECONDS = 60.0
REMEMBERED_ADDRESSES = 1024


def host_name(header: str) -> str:
    """The name in a Host header, lower case, without port or brackets: `[::1]:8080` gives `::1`, nonsense gives ``."""
    try:
        return (urlsplit(f"//{header}").hostname or "") if header and not set(header) & set("/?#@\\ ") else ""
    except ValueError:
        return ""


def is_known_host(header: str, hosts: Collection[str]) -> bool:
    """Whether a Host header names us. `hosts` are names and addresses in lower case.

    An unspecified address among them (0.0.0.0 or ::) stands for every IP address: a server bound to it answers on all
    of this machine's. DNS rebinding needs a name, so addresses are harmless.
    """
    name = host_name(header)
    if not name:
        return False
    if name in hosts:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return not {"0.0.0.0", "::"}.isdisjoint(hosts)  # noqa: S104 (compared, not bound)


class Password:
    """Checks HTTP Basic credentials against one password; any user name will do. Safe to use from several threads."""

    def __init__(self, password: str, clock: Callable[[], float] = time.monotonic) -> None:
        if not password:
            raise ValueError("the password is empty")
        self._digest = hashlib.sha256(password.encode()).digest()
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: dict[str, list[float]] = {}

    def check(self, authorization: str, address: str) -> str:
        """`right`, `missing` (nothing was sent), `wrong`, or `blocked` (too many guesses from this address)."""
        with self._lock:
            recent = self._recent(address)
            if len(recent) >= GUESSES:
                return "blocked"
            if not authorization:
                return "missing"
            # Equal lengths (digests) and compare_digest: the time taken tells nothing about the password.
            if hmac.compare_digest(hashlib.sha256(_basic_password(authorization)).digest(), self._digest):
                self._failures.pop(address, None)
                return "right"
            self._failures[address] = [*recent, self._clock()]
            while len(self._failures) > REMEMBERED_ADDRESSES:
                del self._failures[next(iter(self._failures))]
            return "wrong"

    def _recent(self, address: str) -> list[float]:
        since = self._clock() - GUESS_SECONDS
        return [when for when in self._failures.get(address, ()) if when > since]


def _basic_password(authorization: str) -> bytes:
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() != "basic":
        return b""
    try:
        return base64.b64decode(credentials.strip(), validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return b""


def guard(
    app: WSGIApplication,
    *,
    hosts: Collection[str],
    password: str | None,
    allow_edits: bool,
    healthy: Callable[[], bool],
) -> WSGIApplication:
    """Wraps `app` in the rules above. `healthy` is asked for every `/healthz` and should be quick.

    Raises ValueError on an empty password.
    """
    known = frozenset(host.lower() for host in hosts) | LOOPBACK_HOSTS
    checker = None if password is None else Password(password)
    methods = EDITING if allow_edits else READING

    def refusal(environ: WSGIEnvironment, host: str) -> tuple[str, str, list[tuple[str, str]]] | None:
        """Status, text and headers of what keeps a request from the application, or None."""
        method = environ["REQUEST_METHOD"]
        verdict = "right"
        if checker is not None:
            verdict = checker.check(str(environ.get("HTTP_AUTHORIZATION", "")), str(environ.get("REMOTE_ADDR", "")))
        if verdict == "blocked":
            text = "Too many wrong passwords from your address. Wait a minute.\n"
            return "429 Too Many Requests", text, [("Retry-After", str(int(GUESS_SECONDS)))]
        if verdict != "right":
            challenge = ("WWW-Authenticate", 'Basic realm="alexsearch", charset="UTF-8"')
            return "401 Unauthorized", "The dashboard's password, please. Any user name.\n", [challenge]
        if method not in methods:
            text = "Not allowed here. The dashboard is read-only unless it is started with --allow-edits.\n"
            return "405 Method Not Allowed", text, [("Allow", ", ".join(methods))]
        if method not in READING and not _same_origin(environ, host):
            text = "A change must come from the dashboard's own pages (Origin or Referer header).\n"
            return "403 Forbidden", text, []
        return None

    def guarded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = str(environ.get("PATH_INFO", ""))
        start = _closing(start_response, path)
        head = environ["REQUEST_METHOD"] == "HEAD"
        host = str(environ.get("HTTP_HOST", ""))
        if not is_known_host(host, known):
            text = (
                "This dashboard does not answer to the name in the address (the Host header).\n"
                f"It knows: {', '.join(sorted(known))}. For another, start it with --allow-host NAME.\n"
            )
            return _answer(start, "421 Misdirected Request", text, head=head)
        if path.rstrip("/") == "/healthz" and environ["REQUEST_METHOD"] in READING:
            well = healthy()
            return _answer(
                start, "200 OK" if well else "503 Service Unavailable", "ok" if well else "no storage", head=head
            )
        refused = refusal(environ, host)
        if refused is not None:
            status, text, headers = refused
            return _answer(start, status, text, *headers, head=head)
        return app(environ, start)

    return guarded


def _same_origin(environ: WSGIEnvironment, host: str) -> bool:
    # Only host and port are compared: behind a proxy that ends TLS the scheme we see differs from the browser's.
    origin = str(environ.get("HTTP_ORIGIN") or environ.get("HTTP_REFERER") or "")
    try:
        return urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:
        return False


def _closing(start_response: StartResponse, path: str) -> StartResponse:
    """A start_response that replaces whatever opens an answer to other origins by what closes it."""
    is_artifact = path.startswith("/artifacts/")
    is_kept = path.startswith(("/static/", "/pages/")) or path == "/favicon.ico"

    def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Callable[[bytes], object]:
        ours = [
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "SAMEORIGIN"),
            ("Referrer-Policy", "same-origin"),
            ("Cross-Origin-Opener-Policy", "same-origin"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Content-Security-Policy", ARTIFACT_POLICY if is_artifact else PAGE_POLICY),
        ]
        replaced = {"x-content-type-options", "x-frame-options", "referrer-policy"}
        if is_artifact:
            ours.append(("Content-Disposition", "attachment"))
            replaced.add("content-disposition")
        if not is_kept:
            ours.append(("Cache-Control", "no-store"))
            replaced.add("cache-control")
        kept = [
            (name, value)
            for name, value in headers
            if name.lower() not in replaced and not name.lower().startswith("access-control-")
        ]
        return start_response(status, kept + ours, exc_info)

    return start


def _answer(start: StartResponse, status: str, text: str, *headers: tuple[str, str], head: bool) -> list[bytes]:
    body = text.encode()
    start(status, [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body))), *headers])
    return [] if head else [body]
