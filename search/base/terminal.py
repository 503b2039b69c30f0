"""Standard output as it is found: a terminal, a pipe, a log on a full disk, one whose reader has left."""

from __future__ import annotations

import contextlib
import os
import sys
from functools import cache
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

PIPE_WIDTH = 160
"""Columns of a table in a pipe or a log: its lines are not broken for a width that nobody has."""


class Output(Console):
    """Standard output for people. Text is printed as it is: names of studies are no markup.

    Where the reader leaves (`alexsearch best | head -1`) the rest is dropped, and the command ends as ever.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        width = None if sys.stdout is not None and sys.stdout.isatty() else PIPE_WIDTH
        super().__init__(highlight=False, markup=False, emoji=False, width=width, quiet=quiet)

    def on_broken_pipe(self) -> None:
        self.go_silent()

    def say(self, text: str, style: str = "") -> None:
        """A line of a run. Where the terminal was closed, or the log's disk is full, the run goes on in silence."""
        try:
            self.print(Text(text, style=style), soft_wrap=not self.is_interactive)
        except OSError:
            self.go_silent()

    def go_silent(self) -> None:
        """Print nothing from here on."""
        self.quiet = True
        drop_output()


def plain_table() -> Table:
    """A table without lines, its columns two blanks apart."""
    return Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")


def drop_output() -> None:
    """Let what was not written yet go nowhere: Python would try once more at its end, and complain."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or no file behind it
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def tolerate_any_text() -> None:
    """Letters that the terminal's encoding lacks are printed as escapes: under LC_ALL=C an é would end the command."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # a test's capture has none
        if reconfigure:
            reconfigure(errors="backslashreplace")


def quiet_tensorflow(log: Path) -> None:
    """From here on, what TensorFlow's C++ prints goes to `log`; Python's own errors still reach the terminal."""
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stderr = _first_stderr()
    with log.open("ab") as file:
        os.dup2(file.fileno(), 2)


@cache
def _first_stderr() -> TextIO:
    """Where standard error went at the first call: at a second one, descriptor 2 is the log of the first."""
    return os.fdopen(os.dup(2), "w", encoding="utf-8", errors="replace", buffering=1)


def open_to_others(path: Path) -> bool:
    """Whether other users of this machine can read a file: by its own rights and those of its folder."""
    try:
        return bool(path.stat().st_mode & 0o044 and path.absolute().parent.stat().st_mode & 0o011)
    except (OSError, ValueError):
        return False
