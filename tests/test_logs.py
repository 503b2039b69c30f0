"""The log of a host: a file below the home, and standard error where somebody asks for it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from search.base.home import Home
from search.base.logs import OURS, keep_log


@pytest.fixture(autouse=True)
def loggers_as_before() -> Iterator[None]:
    before = {name: (logging.getLogger(name).handlers, logging.getLogger(name).level) for name in OURS}
    yield
    for name, (handlers, level) in before.items():
        logging.getLogger(name).handlers = handlers
        logging.getLogger(name).setLevel(level)


def test_lines_are_appended_to_the_hosts_file_and_printed_only_if_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = Home(tmp_path).log_file
    for verbose in (False, True):
        keep_log(file, verbose=verbose)
        logging.getLogger("search.run.slot").info("slot-0: trial 3 begun")
    lines = file.read_text().splitlines()
    assert len(lines) == 2
    assert all(line.endswith("INFO search.run.slot: slot-0: trial 3 begun") for line in lines)
    assert capsys.readouterr().err.count("trial 3 begun") == 1


def test_log_that_can_not_be_written_troubles_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    keep_log(tmp_path / "file" / "x.log", verbose=False)
    logging.getLogger("studies").warning("nobody reads this")
    assert capsys.readouterr().err == ""


def test_log_that_was_moved_away_goes_on_in_a_new_file(tmp_path: Path) -> None:
    keep_log(tmp_path / "x.log", verbose=False)
    for text in ("one", "two"):
        logging.getLogger("search").info(text)
        (tmp_path / "x.log").rename(tmp_path / f"{text}.log")
    assert (tmp_path / "two.log").read_text().endswith("two\n")
