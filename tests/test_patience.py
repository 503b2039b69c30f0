"""What is repeated while a database is away, how long, and what the log says of it."""

from __future__ import annotations

import pickle
import sqlite3
import subprocess
import sys
import threading

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from studies.store.errors import StorageError
from studies.store.patience import Patience

URL = make_url("postgresql+psycopg://me:s3cr{t@db/studies")


def locked() -> sa.exc.OperationalError:
    return sa.exc.OperationalError("SELECT 1", {}, sqlite3.OperationalError("database is locked by s3cr{t"))


class Unhurried(threading.Event):
    """Nobody gives up, and no time passes."""

    def wait(self, timeout: float | None = None) -> bool:
        del timeout
        return False


@pytest.fixture
def patience() -> Patience:
    patience = Patience(URL, 60)
    patience.giving_up = Unhurried()
    return patience


class Away:
    """A call that fails so often before it is answered."""

    def __init__(self, times: int) -> None:
        self.times = times

    def __call__(self) -> str:
        self.times -= 1
        if self.times >= 0:
            raise locked()
        return "answer"


def test_outage_gets_one_line_at_its_start_and_one_at_its_end(
    patience: Patience, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "studies.store")
    outer_away, inner = Away(1), Away(3)

    def outer() -> str:
        outer_away()
        return patience(inner)  # while one call is repeated, another is

    assert patience(outer) == "answer"
    first, last = [record.getMessage() for record in caplog.records]
    assert first.startswith("storage postgresql://me:***@db/studies is asked again for up to 60 s: database is locked")
    assert last.startswith("storage postgresql://me:***@db/studies: no call is repeated any more, after 0.")
    assert "s3cr" not in caplog.text


def test_call_that_is_answered_at_once_is_not_told(patience: Patience, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "studies.store")
    assert patience(Away(0)) == "answer"
    assert not caplog.records


def test_outage_ends_in_the_log_though_its_call_was_given_up(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "studies.store")
    patience = Patience(URL, 60)
    patience.giving_up.set()
    for _ in range(2):
        with pytest.raises(StorageError, match="locked"):
            patience(Away(9))
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"] * 2


def test_other_errors_are_raised_at_once(patience: Patience) -> None:
    def wrong() -> str:
        raise KeyError("x")

    with pytest.raises(KeyError):
        patience(wrong)


def test_patience_travels_to_another_process_without_its_threads() -> None:
    copy = pickle.loads(pickle.dumps(Patience(URL, 7)))  # noqa: S301 - our own
    assert (copy.url, copy.seconds, copy.giving_up.is_set()) == (URL, 7, False)


def test_warnings_are_not_printed_where_nobody_asked_for_the_log() -> None:
    code = "import logging, studies.store.patience\nlogging.getLogger('studies.store.patience').warning('away')"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stderr == ""
