"""PgBouncer, Debian's, before a server of the tests: many clients, few connections of the server's."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest


@contextmanager
def pooled(url: str, folder: Path, *, connections: int = 10, clients: int = 2_000) -> Iterator[str]:
    """The URL of the same database through PgBouncer in transaction mode, with so many connections to the server."""
    program = shutil.which("pgbouncer")
    if program is None:
        pytest.skip("PgBouncer is not installed (Debian's package pgbouncer)")
    parts = urlsplit(url)
    asked = parse_qs(parts.query)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    settings = {
        **{"listen_addr": "127.0.0.1", "listen_port": port, "auth_type": "any"},
        **{"pool_mode": "transaction", "default_pool_size": connections, "max_client_conn": clients},
        **{"logfile": folder / "log", "user": "nobody" if os.geteuid() == 0 else ""},
    }
    server = f"host={asked['host'][0]} port={asked['port'][0]} dbname={parts.path[1:]} user=postgres"
    lines = [
        "[databases]",
        f"pooled = {server}",
        "[pgbouncer]",
        *(f"{key} = {value}" for key, value in settings.items()),
    ]
    (folder / "ini").write_text("\n".join(line for line in lines if not line.endswith("= ")) + "\n")
    process = subprocess.Popen([program, str(folder / "ini")], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < until, (folder / "log").read_text()
                time.sleep(0.02)
        yield f"postgresql://postgres@127.0.0.1:{port}/pooled"
    finally:
        process.terminate()
        process.wait(10)
