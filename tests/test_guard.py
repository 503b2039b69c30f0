"""The dashboard against whoever means it ill, over real sockets: hostile requests, slow clients, guessers."""

from __future__ import annotations

import contextlib
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from visitors import CANARY, JSON, OURS, PASSWORD, ask, basic, request_of, send, served, visited

from studies.show import guard, login
from studies.show.dashboard import DashboardError
from studies.store.storage import Storage

DIGITS = "9" * 23
EVIL = "Origin: http://evil.example"

READS = [
    # odd addresses and parameters
    "/?sort=%ff", "/studies/1?sort=%ff", "/studies/1/compare?metric=%ff", "/studies/1/compare?trial=%00&metric=x",
    f"/studies/1/trials/{DIGITS}", f"/studies/{DIGITS}", f"/studies/1/trials/{DIGITS}/recipe", "/studies/-1",
    f"/api/studies/{DIGITS}", "/api/studies/-1", "/api/studies/1?after=abc", "/api/studies/1?after=",
    f"/api/studies/1?after={'9' * 5000}", "/api/studies/1?after=1&after=x", "/api/studies/%D9%A3",
    "/api/studies/999/plot/contour", "/api/studies/1/plot/nothing", "/api/studies/1/plot/pareto_front",
    "/api/studies/999/param_importances", f"/api/studies/{DIGITS}/param_importances", "/csv/2", "/csv/999",
    f"/csv/{DIGITS}", "/csv/1?trial_ids=a,b", f"/csv/1?trial_ids={'1' * 5000}", "/%ff%fe", "/dashboard%00",
    "/studies/1%0d%0aSet-Cookie:%20a=1", "/static/bundle.js", "/favicon.ico", "/static/" + "a" * 5000,
    # files that are not there, or not ours to give
    "/artifacts/1/999/abc", "/artifacts/999/abc", "/artifacts/999/1/abc", f"/artifacts/{DIGITS}/abc",
    "/artifacts/1/abc", "/artifacts/1/5/abc", "/artifacts/1/..%2f..%2fcanary.txt",
    "/static/../../canary.txt", "/static/%2e%2e/canary.txt",
    "/static/..%5c..%5ccanary.txt", "/pages/../../canary.txt", "/pages/%2e%2e%2fsite.py", "//evil.example/%2e%2e",
]  # fmt: skip
EDITS = [
    ("POST", "/api/studies", "[1, 2]"), ("POST", "/api/studies", "not json"), ("POST", "/api/studies", "[" * 9000),
    ("POST", "/api/studies", '{"study_name": "\\ud800", "directions": ["minimize"]}'),
    ("POST", "/api/studies", '{"study_name": 7, "directions": "minimize"}'),
    ("POST", "/api/studies/999/rename", '{"study_name": "x"}'),
    ("PUT", "/api/studies/999/note", '{"version": 1, "body": ""}'),
    ("POST", "/api/trials/999/tell", '{"state": "Fail"}'), ("POST", "/api/trials/1/tell", '{"state": "Fail"}'),
    ("POST", "/api/trials/5/tell", '{"state": "Complete", "values": [1, 2]}'),
    ("POST", "/api/trials/1/user-attrs", '{"user_attrs": {"a": 1}}'),
    ("POST", "/api/trials/5/user-attrs", '{"user_attrs": [1]}'),
    ("DELETE", "/api/artifacts/2/1/abc", ""), ("DELETE", "/api/artifacts/1/1/abc", ""),
    ("POST", "/api/artifacts/1", '{"file": "data:,%"}'),
    ("POST", "/api/studies/1/preference", '{"candidates": [[]], "clicked": []}'),
    ("DELETE", f"/api/studies/{DIGITS}", ""), ("POST", f"/studies/{DIGITS}/stop", ""), ("TRACE", "/api/studies", ""),
]  # fmt: skip
HOSTILE = [
    *(request_of("GET", path) for path in READS),
    *(request_of(method, path, OURS, JSON, body=body) for method, path, body in EDITS),
    request_of("DELETE", "/api/studies/1", EVIL),
    request_of("POST", "/studies/1/stop", "Origin: null"),
    request_of("PUT", "/api/studies/1/note", JSON, body='{"version": 1, "body": "no origin"}'),
    request_of("GET", "/api/studies", host="evil.example"),
    request_of("GET", "/api/studies", f"X-Forwarded-Host: evil.example\r\nCookie: {'a=b; ' * 900}"),
    request_of("GET", "/healthz", body="a body"),
    request_of("GET", "/", "Transfer-Encoding: gzip"),
    request_of("GET", "/", "Authorization: Basic \udcff\udcfe"),
    request_of("GET", "/", f"X-Long: {'x' * 70_000}"),
    b"GET http://[ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %s\r\n\r\n" % (b"9" * 5000),
    b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
]


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    with visited(tmp_path) as opened:
        yield opened


def rows(tmp_path: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(tmp_path / "home" / "study.db")) as database:
        return list(database.iterdump())


@pytest.mark.parametrize("mode", ["read-only", "allow-edits", "password"])
def test_hostile_requests_write_nothing_break_nothing_and_read_no_file(
    storage: Storage, tmp_path: Path, mode: str
) -> None:
    assert len(HOSTILE) >= 60
    before, files = rows(tmp_path), sorted(tmp_path.rglob("*"))
    options = {"allow_edits": mode == "allow-edits", "password": PASSWORD if mode == "password" else None}
    statuses: dict[bytes, int] = {}
    with served(storage, tmp_path, **options) as port:
        for raw in HOSTILE:
            status, answer = send(port, raw)
            statuses[raw] = status
            assert CANARY.encode() not in answer
            assert b"\r\nSet-Cookie: a=1" not in answer
            assert b"\r\nSet-Cookie: lines=1" not in answer
    assert [raw[:120] for raw, status in statuses.items() if status >= 500] == []
    assert rows(tmp_path) == before
    assert [file for file in sorted(tmp_path.rglob("*")) if file not in files and "study.db" not in file.name] == []


# ---- bodies


@pytest.mark.parametrize(
    ("method", "path", "length", "status"),
    [
        ("POST", "/api/artifacts/1", 125_000_000, 413),
        ("PUT", "/api/studies/1/note", guard.EDIT_BODY_BYTES + 1, 413),
        ("POST", "/login", 125_000_000, 413),
        ("GET", "/healthz", 1000, 400),
        ("GET", "/api/studies", 1, 400),
    ],
)
def test_a_body_that_is_too_large_is_refused_before_it_is_sent(
    storage: Storage, tmp_path: Path, method: str, path: str, length: int, status: int
) -> None:
    with served(storage, tmp_path, allow_edits=True, password=PASSWORD) as port:
        known = [OURS, f"Authorization: {basic(PASSWORD)}", f"Content-Length: {length}"]
        assert send(port, request_of(method, path, *known))[0] == status
        assert send(port, request_of(method, path, *known, "Expect: 100-continue"))[0] == status


def test_without_the_password_no_body_is_read(storage: Storage, tmp_path: Path) -> None:
    with served(storage, tmp_path, allow_edits=True, password=PASSWORD) as port:
        head = request_of("POST", "/api/artifacts/1", OURS, JSON, "Content-Length: 8000000")
        assert send(port, head)[0] == 401, "answered although nothing of the body came"
        assert send(port, head + b"x" * 8_000_000)[0] == 401, "the answer is not lost under what was still being sent"
        assert send(port, request_of("POST", "/api/artifacts/1", OURS, "Transfer-Encoding: chunked"))[0] == 401


def test_a_body_in_chunks_is_bounded_too(storage: Storage, tmp_path: Path) -> None:
    chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    with served(storage, tmp_path, allow_edits=True) as port:
        head = request_of("PUT", "/api/studies/1/note", OURS, JSON, "Transfer-Encoding: chunked")
        assert send(port, head + 20 * chunk + b"0\r\n\r\n")[0] == 413
        note = b'{"version": 1, "body": "in chunks"}'
        assert send(port, head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(note), note))[0] == 204


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_request_with_two_lengths_is_refused_and_ends_its_connection(
    storage: Storage, tmp_path: Path, order: int, version: str
) -> None:
    lengths = "\r\n".join(["Content-Length: 5", "Transfer-Encoding: chunked"][::order])
    with served(storage, tmp_path, allow_edits=True) as port:
        head = f"PUT /api/studies/1/note HTTP/{version}\r\nHost: localhost\r\n{OURS}\r\n{lengths}\r\n\r\n"
        smuggled = "0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        status, answer = send(port, (head + smuggled).encode())
    assert status == 400
    assert b"\r\nConnection: close\r\n" in answer
    assert answer.count(b"HTTP/1.") == 1


# ---- slow clients and guessers


SLOW = {
    "headers": b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
    "nothing": b"",
    "body": request_of("PUT", "/api/studies/1/note", OURS, "Content-Length: 100"),
}


@pytest.mark.parametrize("stuck_in", SLOW)
def test_slow_clients_and_guessers_keep_nobody_from_being_answered(
    storage: Storage, tmp_path: Path, stuck_in: str
) -> None:
    password = None if stuck_in == "body" else PASSWORD
    with (
        served(storage, tmp_path, password=password, allow_edits=True) as port,
        contextlib.ExitStack() as open_ones,
    ):
        slow = [open_ones.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(300)]
        for connection in slow:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the first ones have made room by now
                connection.sendall(SLOW[stuck_in])
        wrong = [ask(port, "GET", "/api/studies", Authorization=basic(f"guess {turn}"))[0] for turn in range(20)]
        assert ask(port, "GET", "/api/studies", Authorization=basic(PASSWORD))[0] == 200
        if password:
            assert wrong == [401] * login.GUESSES + [429] * (20 - login.GUESSES)
        for connection in slow[-30:]:  # those that came last still wait
            connection.sendall(b"x")


def test_a_client_that_has_not_said_all_within_a_minute_is_sent_away() -> None:
    from studies.show import server

    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = server.make_server(lambda *_: [b""], listener)
        channel = server.Channel(made, listener.dup(), ("127.0.0.1", 1), made.adj, map={})
        begun = channel.waiting_since
        assert not channel.is_late(begun + server.WAIT_SECONDS - 1)
        channel.received(SLOW["headers"])
        channel.last_activity += 3600  # a byte now and then is no excuse
        assert channel.is_late(begun + server.WAIT_SECONDS + 1)
        channel.total_outbufs_len, channel.last_activity = 10, begun  # an answer is on its way
        assert not channel.is_late(begun + server.READ_SECONDS - 1)
        assert channel.is_late(begun + server.READ_SECONDS + 1)
        channel.total_outbufs_len = 0  # its request is worked at
        channel.requests = [channel.request]
        assert not channel.is_late(begun + 3600)
        channel.total_outbufs_len = made.adj.outbuf_high_watermark + 1  # a thread waits for the client to read
        channel.last_activity = begun + 3600  # a byte now and then is no excuse here either
        assert not channel.is_late(begun + 3540)
        assert channel.is_late(begun + 3540 + server.READ_SECONDS + 1)
        channel.requests, channel.total_outbufs_len = [], 0
        made.task_dispatcher.shutdown()
        channel.handle_close()
        made.close()


def test_behind_a_named_proxy_each_visitor_has_guesses_of_his_own(storage: Storage, tmp_path: Path) -> None:
    guess = {"Authorization": basic("guess")}
    with served(storage, tmp_path, password=PASSWORD, trusted_proxy="127.0.0.1") as port:
        for _ in range(login.GUESSES + 1):
            last = ask(port, "GET", "/api/studies", X_Forwarded_For="10.9.9.9, 203.0.113.5", **guess)[0]
        assert last == 429
        assert ask(port, "GET", "/api/studies", X_Forwarded_For="203.0.113.6", **guess)[0] == 401
    with served(storage, tmp_path, password=PASSWORD) as port:
        for turn in range(login.GUESSES + 1):
            last = ask(port, "GET", "/api/studies", X_Forwarded_For=f"203.0.113.{turn}", **guess)[0]
        assert last == 429, "nobody named that proxy: its header is anybody's"


def test_a_proxy_that_is_no_address_is_told(storage: Storage, tmp_path: Path) -> None:
    with (
        pytest.raises(DashboardError, match="'nginx' is no IP address"),
        served(storage, tmp_path, trusted_proxy="nginx"),
    ):
        pass
