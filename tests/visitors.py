"""Who visits a dashboard over real sockets, and the one that they visit."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import optuna
from optuna.artifacts import FileSystemArtifactStore, upload_artifact
from optuna.trial import TrialState
from study_maker import make_study

from search.base.artifacts import Artifacts
from search.screen.serving import recipe_text
from studies.show.dashboard import serving
from studies.store.opening import open_storage
from studies.store.storage import Storage

PASSWORD, TOKEN = "correct horse battery", "t0ken-of-a-script"
JSON, OURS = "Content-Type: application/json", "Origin: http://localhost"
CANARY = "the content of a file that is nobody's business"
PATIENCE = 30.0
"""Seconds in which a server that is not held up answers many times over."""


@contextlib.contextmanager
def visited(tmp_path: Path) -> Iterator[Storage]:
    """The storage of the dashboard, in a home of its own. In it: a study of ours, and another program's with a running
    trial, a name of two lines, an artifact, and one whose file is gone."""
    opened = open_storage(f"sqlite:///{tmp_path / 'home' / 'study.db'}")
    make_study(opened, 0.4, 0.5, TrialState.FAIL, 0.3)
    other = optuna.create_study(storage=opened, study_name="two\r\nSet-Cookie: lines=1")
    running = other.ask()
    (tmp_path / "home" / "artifacts").mkdir()
    store = FileSystemArtifactStore(tmp_path / "home" / "artifacts")
    (tmp_path / "note.txt").write_text("an artifact")
    for kept, gone in ((other, False), (running, True)):
        artifact = upload_artifact(artifact_store=store, file_path=str(tmp_path / "note.txt"), study_or_trial=kept)
        if gone:
            store.remove(artifact)
    (tmp_path / "canary.txt").write_text(CANARY)
    yield opened
    opened.engine.dispose()


@contextlib.contextmanager
def served(storage: Storage, tmp_path: Path, **asked: Any) -> Iterator[int]:
    """The port of a dashboard."""
    store = Artifacts(storage, tmp_path / "home" / "artifacts")
    with serving(storage, port=0, artifact_store=store, recipe=recipe_text(storage), **asked) as url:
        yield urlsplit(url).port or 0


def send(port: int, raw: bytes) -> tuple[int, bytes]:
    """Status and everything else of the answer to these bytes; the client closes its side after them."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
        answer = bytearray()
        while part := connection.recv(65536):
            answer += part
    return int(answer.split()[1]), bytes(answer)


def ask(
    port: int, method: str, path: str, body: bytes | None = None, /, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers (names in lower case) and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"anyone:{password}".encode()).decode()


def request_of(method: str, path: str, *headers: str, body: str = "", host: str = "localhost") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", *headers]
    if body:
        lines.append(f"Content-Length: {len(body.encode())}")
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode("utf-8", "surrogateescape")


def edit(port: int, method: str, path: str, document: Any, **headers: str) -> tuple[int, bytes]:
    sent = {"Content_Type": "application/json", "Origin": f"http://127.0.0.1:{port}", **headers}
    return ask(port, method, path, json.dumps(document).encode(), **sent)[::2]
