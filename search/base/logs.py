"""The log of a host: who took which trial, what went back and why, which worker died, when the database was away.

Lines go to one file a host below the home, from any number of processes at once, each line appended whole. What cannot
be written is dropped: a log costs no run its life.
"""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import sys
from pathlib import Path
from typing import TextIO

OURS = ("model", "search", "studies")
FORMAT = "%(asctime)s %(process)d %(threadName)s %(levelname)s %(name)s: %(message)s"


def keep_log(file: Path, *, verbose: bool) -> None:
    """From here on, append what our loggers say to `file`; with `verbose` also print it to standard error."""
    handlers: list[logging.Handler] = [_File(file, delay=True, encoding="utf-8", errors="backslashreplace")]
    if verbose:
        handlers.append(_Stderr())
    for handler in handlers:
        handler.setFormatter(logging.Formatter(FORMAT))
    for name in OURS:
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        logger.handlers = handlers


class _File(logging.handlers.WatchedFileHandler):
    """Goes on in a new file if somebody moved the old one away, as logrotate does."""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):  # of opening it: the folder is gone, or not ours
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """The disk is full: this line is lost."""
        del record


class _Stderr(logging.StreamHandler[TextIO]):
    """Standard error as it is at each line: a live table puts itself in its place to keep its own lines whole."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """The terminal was closed."""
        del record
