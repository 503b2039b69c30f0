"""waitress, bounded: however slowly clients send or read, somebody else is answered, and no body is read in vain.

Connections are cheap and threads are not: a request reaches a thread when it is whole. So a client that dribbles holds
a connection only, for WAIT_SECONDS at most; where connections run out, the one that has waited longest makes room for
the newcomer. Before a body is read, the application is asked whether it would refuse it by its headers (see
`show.guard.HEADERS_ONLY`). What tells its length twice over, by Content-Length and Transfer-Encoding, is refused.

Imported when a server is made: it brings waitress.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import socket
import time
from typing import TYPE_CHECKING, Any

from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError, TransferEncodingNotImplemented
from waitress.server import TcpWSGIServer
from waitress.task import WSGITask

from studies.show.guard import HEADERS_ONLY, UPLOAD_BODY_BYTES

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

THREADS = 8
"""A page of optuna-dashboard over thousands of trials keeps one busy for seconds."""
CONNECTIONS = 256
CONNECTIONS_AN_ADDRESS = 64
"""A browser opens six. Behind a proxy that is not named as trusted, everybody has one address."""
WAIT_SECONDS = 60
"""For a whole request, from the connection's start or the last answer."""
READ_SECONDS = 60
"""For the client to read on, and for what it holds a thread by not reading."""
LINGER_SECONDS = 5
"""A refused body is thrown away for so long: closed at once, the client would lose our answer with it."""
HEADER_BYTES = 64 * 1024

_BOTH_LENGTHS = [re.compile(rb"(?im)^%s[ \t]*:" % name) for name in (b"content-length", b"transfer-encoding")]


def make_server(app: WSGIApplication, listener: socket.socket, *, trusted_proxy: str | None = None) -> Server:
    """A server of `app` on a socket that listens. `run` serves until KeyboardInterrupt or SystemExit.

    From the address `trusted_proxy`, X-Forwarded-For and X-Forwarded-Proto are believed: who asks, and by TLS or not.
    """
    proxy = {"trusted_proxy": trusted_proxy, "trusted_proxy_headers": "x-forwarded-for x-forwarded-proto"}
    adjustments = Adjustments(
        sockets=[listener],
        ident=None,
        threads=THREADS,
        # Ours come first; these are for what they don't see: the listening socket, the trigger, bodies in chunks.
        connection_limit=CONNECTIONS + 16,
        max_request_body_size=UPLOAD_BODY_BYTES + 1,
        max_request_header_size=HEADER_BYTES,
        asyncore_use_poll=True,  # select() knows no descriptor past 1023
        log_socket_errors=False,
        **(proxy if trusted_proxy else {}),
    )
    # It would say on the terminal, for each request, how many wait.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    family, kind, proto = listener.family, listener.type, listener.proto
    return Server(
        app, _sock=listener, adj=adjustments, bind_socket=False, sockinfo=(family, kind, proto, listener.getsockname())
    )


class _Refused:
    """An answer in the place where waitress keeps what is wrong with a request."""

    def __init__(self, status: str, headers: list[tuple[str, str]], body: bytes) -> None:
        self.answer = status, headers, body

    def to_response(self, ident: object) -> tuple[str, list[tuple[str, str]], bytes]:
        del ident
        return self.answer


class Parser(HTTPRequestParser):  # type: ignore[misc]
    """One request as it comes in over a channel."""

    def __init__(self, channel: Channel) -> None:
        super().__init__(channel.adj)
        self.error: Any
        self.completed: bool
        self._channel = channel

    def received(self, data: bytes) -> int:
        """Takes in what came, and gives how much of it belongs to this request: all, once it is refused."""
        was_in_headers = not self.headers_finished
        taken: int = super().received(data)
        if was_in_headers and self.headers_finished and not self.error and self.body_rcv is not None:
            self.error = self._channel.ask(self)
            self.completed = self.completed or self.error is not None
        if self.error is not None:
            self._channel.refuses = True
            self.expect_continue = False
            return len(data)
        return taken

    def parse_header(self, header_plus: bytes) -> None:
        """Raises ParsingError for what a proxy before us might have understood otherwise."""
        if all(name.search(header_plus) for name in _BOTH_LENGTHS):
            raise ParsingError("Both Content-Length and Transfer-Encoding")
        try:
            super().parse_header(header_plus)
        except (TransferEncodingNotImplemented, ValueError) as error:  # ValueError: http://[, a length of 5,000 digits
            raise ParsingError(str(error)) from None


class Channel(HTTPChannel):  # type: ignore[misc]
    """A connection. All but `service` runs in the server's own thread."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.waiting_since = self.last_activity
        self._blocked_since: float | None = None
        self.refuses = False
        self._lingers_until: float | None = None

    def parser_class(self, adjustments: Adjustments) -> Parser:
        """waitress' name for what makes the parser of the next request."""
        del adjustments  # they are the channel's own
        return Parser(self)

    def ask(self, request: Parser) -> _Refused | None:
        """What the application refuses a request by, of which only the headers are here; None where it goes on."""
        environ = WSGITask(self, request).get_environment() | {HEADERS_ONLY: True}
        started: list[Any] = []
        body = b"".join(self.server.application(environ, lambda *given: started.extend(given)))
        status, headers = started[:2]
        if status.startswith("100"):
            return None
        return _Refused(status, [each for each in headers if each[0] != "Content-Length"], body)

    def received(self, data: bytes) -> bool:
        """Takes in what came, unless the connection only waits for the client to see its refusal."""
        return self._lingers_until is None and bool(super().received(data))

    def service(self) -> None:
        """Answers one request, in a thread of the pool."""
        super().service()
        self.waiting_since = time.time()

    def readable(self) -> bool:
        """Whether the server is to read from it: also what is thrown away."""
        return self._lingers_until is not None or bool(super().readable())

    def handle_close(self) -> None:
        """Closes it; after a refusal, not before the client has seen it or LINGER_SECONDS are over."""
        if self.refuses and self._lingers_until is None and self.connected:
            self._lingers_until = time.time() + LINGER_SECONDS
            self.will_close = False
            try:
                self.socket.shutdown(socket.SHUT_WR)
            except OSError:
                super().handle_close()
            return
        super().handle_close()

    def handle_read(self) -> None:
        """Reads what came; the end of what is thrown away closes the connection."""
        super().handle_read()
        if self._lingers_until is not None and not self.connected:
            super().handle_close()

    def is_late(self, now: float) -> bool:
        """Whether it has had its time."""
        if self._lingers_until is not None:
            return now > self._lingers_until
        blocked = self.requests and self.total_outbufs_len > self.adj.outbuf_high_watermark
        self._blocked_since = (self._blocked_since or now) if blocked else None
        if blocked and now - (self._blocked_since or now) > READ_SECONDS:
            return True
        if self.total_outbufs_len:
            self.waiting_since = now
            return bool(now - self.last_activity > READ_SECONDS)
        return not self.requests and now - self.waiting_since > WAIT_SECONDS


class Server(TcpWSGIServer):  # type: ignore[misc]
    """waitress' server with a bound on connections, for each address and in all, that shuts nobody out."""

    channel_class = Channel

    def fix_addr(self, addr: tuple[Any, ...]) -> tuple[Any, ...]:
        """The address of a newcomer, for whom room is made first. IPv4 is written as such on a socket of IPv6, too."""
        parsed = ipaddress.ip_address(addr[0])
        mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
        addr = (str(mapped), *addr[1:]) if mapped else addr
        channels = list(self.active_channels.values())
        if addr[0] != self.adj.trusted_proxy:
            _make_room([channel for channel in channels if channel.addr[0] == addr[0]], CONNECTIONS_AN_ADDRESS)
        _make_room(list(self.active_channels.values()), CONNECTIONS)
        return addr

    def maintenance(self, now: float) -> None:
        """Closes what is late."""
        self.next_channel_cleanup = now + 2
        for channel in list(self.active_channels.values()):
            if channel.is_late(now):
                channel.will_close = True


def _make_room(channels: list[Channel], most: int) -> None:
    """Below `most`: first those that wait for a request go, the longest first, then those that read their answer."""
    if len(channels) < most:
        return
    idle = [channel for channel in channels if not channel.requests]
    if idle:
        longest = min(idle, key=lambda channel: (channel.total_outbufs_len > 0, channel.waiting_since))
        HTTPChannel.handle_close(longest)
