"""What stands between the network and a web application that trusts everybody.

optuna-dashboard has no authentication, answers to any Host header and lets whoever reaches it rename, tell or delete
trials, which crashes live workers. Its artifacts come inline as whatever type they were stored with, readable from
every origin. `guard` wraps such a WSGI application and decides, in this order:

1. Is the Host header one of ours? A foreign one means DNS rebinding: a page elsewhere whose name was pointed at us.
2. Does it read, and has a body all the same? Is its address UTF-8, its path without control characters?
3. `/healthz` is answered, to anybody: "ok" or 503.
4. Does the visitor have a session, the password or a token? `show.login` decides, and answers /login and /logout.
5. Is the method allowed? GET and HEAD; with `allow_edits` the others too, when Origin (or Referer) is our own.
6. Is the body too large?
7. The application answers. Headers that open the page to other origins are taken away, those that close it are added.

The server may ask before it reads a body, with HEADERS_ONLY set in the environment: what would be refused is answered
at once, else the status is 100. Every edit is a line of the audit log.

Pure standard library: it knows nothing of Optuna.
"""

from __future__ import annotations

import ipaddress
import unicodedata
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote_to_bytes, urlsplit

from studies.show.login import AUDIT, LOGIN_BODY_BYTES, Answer, Login, Visitor

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
READING = ("GET", "HEAD")
EDITING = (*READING, "POST", "PUT", "PATCH", "DELETE")

# Stands beside the application's own policy: a browser obeys both. 'self', not 'none': the dashboard may frame itself.
PAGE_POLICY = "frame-ancestors 'self'; base-uri 'self'; form-action 'self'; object-src 'none'"
# An artifact is a file somebody stored: opened, it must not be a page of this origin. <img> and fetch don't care.
ARTIFACT_POLICY = "sandbox; default-src 'none'"

HEADERS_ONLY = "alexsearch.headers_only"
EDIT_BODY_BYTES = 1024 * 1024
"""A note of a hundred pages."""
UPLOAD_BODY_BYTES = 8 * 1024 * 1024
"""An artifact of 6 MB, as optuna-dashboard's pages send it."""


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


def guard(
    app: WSGIApplication,
    *,
    hosts: Collection[str],
    login: Login | None,
    allow_edits: bool,
    healthy: Callable[[], bool],
) -> WSGIApplication:
    """Wraps `app` in the rules above. `healthy` is asked for every `/healthz` and should be quick.

    Without a `login` everybody is let in who reaches it.
    """
    known = frozenset(host.lower() for host in hosts) | LOOPBACK_HOSTS
    methods = EDITING if allow_edits else READING

    def before_the_door(environ: WSGIEnvironment) -> Answer | None:
        """What is answered without asking who asks, if anything."""
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        if not is_known_host(environ.get("HTTP_HOST", ""), known):
            text = (
                "This dashboard does not answer to the name in the address (the Host header).\n"
                f"It knows: {', '.join(sorted(known))}. For another, start it with --allow-host NAME.\n"
            )
            return Answer("421 Misdirected Request", text)
        if method in READING and (HEADERS_ONLY in environ or _body_bytes(environ) != 0):
            return Answer("400 Bad Request", f"{method} takes no body.\n")
        if not _is_readable(environ):
            return Answer("400 Bad Request", "The address is not UTF-8, or its path holds control characters.\n")
        if path.rstrip("/") == "/healthz" and method in READING:
            return Answer("200 OK", "ok") if healthy() else Answer("503 Service Unavailable", "no storage")
        return None

    def at_the_door(environ: WSGIEnvironment, login: Login) -> Answer | None:
        if environ["PATH_INFO"].rstrip("/") not in ("/login", "/logout"):
            return None
        if environ["REQUEST_METHOD"] not in READING:
            if not _same_origin(environ):
                return Answer(*_FOREIGN)
            # Its length is told before it is read, for nobody has said the password yet.
            if _body_bytes(environ) is None or (_body_bytes(environ) or 0) > LOGIN_BODY_BYTES:
                return Answer("413 Content Too Large", "A login is short.\n")
            if HEADERS_ONLY in environ:
                return Answer(*_GO_ON)
        return login.answer(environ)

    def behind_the_door(environ: WSGIEnvironment) -> Answer | None:
        path, method, body = environ["PATH_INFO"], environ["REQUEST_METHOD"], _body_bytes(environ)
        if method not in methods:
            text = "Not allowed here. The dashboard is read-only unless it is started with --allow-edits.\n"
            return Answer("405 Method Not Allowed", text, (("Allow", ", ".join(methods)),))
        if method in READING:
            return None
        if not _same_origin(environ):
            return Answer(*_FOREIGN)
        most = UPLOAD_BODY_BYTES if path.startswith("/api/artifacts/") else EDIT_BODY_BYTES
        if body is not None and body > most:
            return Answer("413 Content Too Large", f"At most {most} bytes are taken here.\n")
        return Answer(*_GO_ON) if HEADERS_ONLY in environ else None

    def guarded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ.setdefault("PATH_INFO", "")
        start = _closing(start_response, environ["PATH_INFO"])
        visitor = Visitor("right", "anybody")
        answer = before_the_door(environ)
        if answer is None and login is not None and not _is_look(environ):
            answer = at_the_door(environ, login)
            if answer is None:
                visitor = login.visitor(environ)
                if visitor.verdict != "right":
                    answer = login.refused(visitor, environ)
        if answer is None:
            if allow_edits and environ["REQUEST_METHOD"] not in READING:
                start = _audited(start, environ, visitor)
            answer = behind_the_door(environ)
        return app(environ, start) if answer is None else _send(answer, start, environ)

    return guarded


_FOREIGN = ("403 Forbidden", "A change must come from the dashboard's own pages (Origin or Referer header).\n")
_GO_ON = ("100 Continue", "")


def _is_readable(environ: WSGIEnvironment) -> bool:
    try:
        path = environ["PATH_INFO"].encode("latin-1").decode()
        unquote_to_bytes(environ.get("QUERY_STRING", "")).decode()
    except UnicodeDecodeError:
        return False
    return not any(unicodedata.category(letter) == "Cc" for letter in path)


def _is_look(environ: WSGIEnvironment) -> bool:
    """Style, script and icon of the login page: they are the same for everybody, and in our source."""
    return environ["REQUEST_METHOD"] in READING and environ["PATH_INFO"].startswith("/pages/")


def _body_bytes(environ: WSGIEnvironment) -> int | None:
    """None if it is not told: in chunks."""
    told = environ.get("CONTENT_LENGTH", "")
    if not told:
        return None if HEADERS_ONLY in environ else 0
    return int(told) if told.isdecimal() else None


def _audited(start_response: StartResponse, environ: WSGIEnvironment, visitor: Visitor) -> StartResponse:
    """A start_response that writes a line of the audit log."""
    method, path = quote(environ["REQUEST_METHOD"]), quote(environ["PATH_INFO"], encoding="latin-1")[:200]

    def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Callable[[bytes], object]:
        if not status.startswith("100"):
            address = environ.get("REMOTE_ADDR", "")
            AUDIT.info("edit: %s %s from %s by %s: %s", method, path, address, visitor.who, status[:3])
        return start_response(status, headers, exc_info)

    return start


def _same_origin(environ: WSGIEnvironment) -> bool:
    # Only host and port are compared: behind a proxy that ends TLS the scheme we see differs from the browser's.
    origin = str(environ.get("HTTP_ORIGIN") or environ.get("HTTP_REFERER") or "")
    try:
        return urlsplit(origin).netloc.lower() == str(environ.get("HTTP_HOST", "")).lower()
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


def _send(answer: Answer, start: StartResponse, environ: WSGIEnvironment) -> list[bytes]:
    body = answer.text.encode()
    told = [("Content-Type", f"{answer.kind}; charset=utf-8"), ("Content-Length", str(len(body)))]
    start(answer.status, [*told, *answer.headers])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
