"""Reading a database without leaving a trace in it or beside it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

WAL = b"\x02\x02"
"""In an SQLite file's header: it is written ahead, and two files beside it hold what is not in it yet."""


class Connection(sqlite3.Connection):
    """One that reads text which is not UTF-8 too: somebody else wrote it, and the rows beside it are none the worse."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.text_factory = lambda stored: stored.decode(errors="replace")


def connect_to_read(file: str, busy_seconds: float) -> sqlite3.Connection:
    """A connection to an SQLite file that writes nothing to it; it waits `busy_seconds` for locks."""
    connection = sqlite3.connect(
        f"file:{quote(file)}?{_how(Path(file))}",
        timeout=busy_seconds,
        check_same_thread=False,
        uri=True,
        factory=Connection,
    )
    connection.execute("PRAGMA query_only = ON")
    return connection


def _how(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            is_wal = opened.read(20)[18:] == WAL
    except OSError:
        is_wal = False  # SQLite says what is wrong
    if not is_wal:
        return "mode=ro"
    # A reader by mode=ro has to make the two files beside it and may not remove them. One that could write does both.
    if os.access(file, os.W_OK) and os.access(file.parent, os.W_OK):
        return "mode=rw"
    waits = Path(f"{file}-wal")
    is_settled = not waits.exists() or waits.stat().st_size == 0
    return "mode=ro&immutable=1" if is_settled and not os.access(file.parent, os.W_OK) else "mode=ro"


def take_for_empty(engine: sa.Engine, tables: Sequence[sa.Table]) -> None:
    """Let queries find these tables, which the database lacks, and nothing in them."""
    empty = []
    for table in tables:
        columns = [sa.cast(sa.null(), column.type).label(column.name) for column in table.columns]
        query = sa.select(*columns).where(sa.literal_column("1 = 0")).compile(engine)
        empty.append(f"{table.name} AS ({query})")
    names = [table.name for table in tables]

    def before(
        _connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool
    ) -> tuple[str, Any]:
        if statement.startswith("SELECT") and any(name in statement for name in names):
            statement = f"WITH {', '.join(empty)} {statement}"
        return statement, parameters

    sa.event.listen(engine, "before_cursor_execute", before, retval=True)
