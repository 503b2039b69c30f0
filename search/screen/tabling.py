"""A table as a file that other programs read: CSV, JSON or parquet."""

from __future__ import annotations

import csv
import datetime
import io
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from model.files import written_aside
from search.base.mistakes import InputError
from search.base.overwriting import check_file
from search.base.toml import as_shown
from studies.record.rows import Cell, Table

if TYPE_CHECKING:
    import pyarrow

Kind = Literal["csv", "json", "parquet"]
KINDS: tuple[Kind, ...] = ("csv", "json", "parquet")
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for a formula begins so."""


def write_table(table: Table, output: Path, kind: Kind, *, force: bool = False) -> None:
    """Write it whole or not at all; "-" is standard output. A file that is there is replaced only with `force`.

    A table may have been worked on since, and does not show it: so one of ours is no exception.

    Raises:
        InputError: the file is there, or can't be written, or pyarrow is missing.
    """
    to_stdout = str(output) == "-"
    if kind == "parquet" and to_stdout:
        raise InputError("parquet is nothing to print. Name a file with -o, or another --format: csv, json.")
    content = _parquet(table) if kind == "parquet" else (as_json if kind == "json" else as_csv)(table)
    if to_stdout:
        click.echo(content, nl=False)
        return
    check_file(output, force=force, is_ours=lambda _: False)
    try:
        with written_aside(output) as aside:
            if isinstance(content, str):
                aside.write_bytes(content.encode())
            else:
                from pyarrow import parquet

                parquet.write_table(content, aside)
    except OSError as error:
        raise InputError(f"{as_shown(output)}: can't be written ({error.strerror or error}).") from None


def as_csv(table: Table) -> str:
    """RFC 4180, UTF-8, times in ISO 8601. An empty cell is nothing at all.

    A text that a spreadsheet would take for a formula gets an apostrophe in front, unless it is a number: names and
    reasons come out of a database that others write to, and opening a table must run nothing.
    """
    written = io.StringIO(newline="")
    writer = csv.writer(written, lineterminator="\r\n")
    writer.writerow([_harmless(column) for column in table.columns])
    writer.writerows([_plain(cell) for cell in row] for row in table.rows)
    return written.getvalue()


def as_json(table: Table) -> str:
    """A list of objects, one a row, that all have the same keys. NaN and infinity, which JSON lacks, are null."""
    rows = (
        json.dumps(dict(zip(table.columns, map(_in_json, row), strict=True)), ensure_ascii=False) for row in table.rows
    )
    return "[\n" + ",\n".join(rows) + "\n]\n" if table.rows else "[]\n"


def _plain(cell: Cell) -> Any:
    if isinstance(cell, datetime.datetime):
        return cell.isoformat(timespec="milliseconds")
    return _harmless(cell) if isinstance(cell, str) else cell


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _in_json(cell: Cell) -> Any:
    if isinstance(cell, datetime.datetime):
        return cell.isoformat(timespec="milliseconds")
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell


def _parquet(table: Table) -> pyarrow.Table:
    """As pyarrow's table: a column of numbers, of times, or, where its cells are of several kinds, of text."""
    try:
        import pyarrow
    except ImportError:
        raise InputError(
            "parquet is written by pyarrow, which is not installed: pip install 'alexsearch[parquet]'. Or write .csv "
            "or .json."
        ) from None

    def column(index: int) -> pyarrow.Array:
        cells = [row[index] for row in table.rows]
        try:
            return pyarrow.array(cells)
        except (pyarrow.ArrowException, OverflowError):
            return pyarrow.array([None if cell is None else str(cell) for cell in cells])

    return pyarrow.table({name: column(index) for index, name in enumerate(table.columns)})
