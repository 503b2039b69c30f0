"""The database goes away, hangs, fills up or is started upon by everybody at once; workers freeze. Nothing is lost."""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fleet import Fleet, Verdict, ended, judge
from null_worker import Orders
from optuna.study import StudyDirection
from postgres_server import PostgresServer
from sqlalchemy import orm

from studies.store.attributes import STUDY_USER
from studies.store.opening import open_storage
from studies.store.tables import hold_study


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    server = PostgresServer(tmp_path_factory.mktemp("server"))
    yield server
    server.stop()


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    fleet = Fleet(
        Orders(
            url=url,
            home=tmp_path / "home",
            log=tmp_path / "log",
            trials=6,
            epochs=20,
            epoch_seconds=0.1,
            verdict_seconds=0.1,
        )
    )
    yield fleet
    fleet.close()


def whole(fleet: Fleet) -> Verdict:
    verdict = judge(fleet)
    assert verdict.problems == []
    assert verdict.errors == []
    assert verdict.states == {"complete": fleet.orders.trials}
    return verdict


def trained_between(fleet: Fleet, begin: float, end: float) -> int:
    return sum(begin < line["at"] < end for line in fleet.seen("trained"))


@pytest.mark.slow
@pytest.mark.parametrize("away_seconds", [0.0, 3.0])
def test_postgres_crashing_under_a_run_costs_nothing(fleet: Fleet, server: PostgresServer, away_seconds: float) -> None:
    fleet.orders = replace(fleet.orders, url=server.database(), slots=2, grace_seconds=12)
    workers = [fleet.start(), fleet.start()]
    fleet.wait(lambda: len(fleet.seen("report")) >= 8)
    begin = time.monotonic()
    server.stop()
    time.sleep(away_seconds)
    end = time.monotonic()
    server.start()
    for worker in workers:
        ended(worker)
    verdict = whole(fleet)
    assert verdict.attempts == 0  # nobody was taken for dead
    assert not away_seconds or trained_between(fleet, begin + 1, end) > 0


@pytest.mark.slow
def test_connections_that_break_at_any_moment_cost_nothing(fleet: Fleet, server: PostgresServer) -> None:
    """Also between a commit and its answer: then the call is repeated, and finds its work done."""
    fleet.orders = replace(fleet.orders, url=server.database(), slots=2, epoch_seconds=0.0)
    worker = fleet.start()
    fleet.wait(lambda: fleet.seen("take"))
    chance = random.Random(1)
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'alexsearch'"
    while worker.is_alive():
        server.ask(kill)
        time.sleep(chance.uniform(0.02, 0.1))
    ended(worker)
    assert whole(fleet).attempts == 0


@pytest.mark.slow
def test_locked_sqlite_stalls_the_reports_and_not_the_training(fleet: Fleet) -> None:
    fleet.orders = replace(fleet.orders, trials=2, grace_seconds=12)
    workers = [fleet.start(), fleet.start()]
    fleet.wait(lambda: len(fleet.seen("report")) >= 4)
    blocker = sqlite3.connect(fleet.orders.url.removeprefix("sqlite:///"), isolation_level=None)
    blocker.execute("BEGIN EXCLUSIVE")
    begin = time.monotonic()
    fleet.wait(lambda: trained_between(fleet, begin + 0.3, time.monotonic()) >= 4)
    end = time.monotonic()
    blocker.execute("ROLLBACK")
    for worker in workers:
        ended(worker)
    verdict = whole(fleet)
    assert verdict.attempts == 0
    assert not [line for line in fleet.seen("report") if begin + 0.3 < line["at"] < end]


@pytest.mark.slow
def test_worker_frozen_past_its_grace_has_its_late_result_discarded_and_carries_on(fleet: Fleet) -> None:
    fleet.orders = replace(fleet.orders, trials=3, grace_seconds=1.2, epoch_seconds=0.15)
    frozen = fleet.start()
    fleet.wait(lambda: len(fleet.seen("report")) >= 2)
    assert frozen.pid is not None
    os.kill(frozen.pid, signal.SIGSTOP)
    other = fleet.start()
    fleet.wait(lambda: fleet.seen("reap"))
    fleet.wait(lambda: len({line["slot"] for line in fleet.seen("report") if line["pid"] == other.pid}) > 0)
    os.kill(frozen.pid, signal.SIGCONT)
    ended(frozen)
    ended(other)
    assert whole(fleet).attempts >= 1
    assert [line for line in fleet.seen("no longer held") if line["pid"] == frozen.pid]
    assert len([line for line in fleet.seen("take") if line["pid"] == frozen.pid]) >= 2


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_32_workers_start_at_once_on_an_empty_database(fleet: Fleet, server: PostgresServer, kind: str) -> None:
    url = server.database() if kind == "postgres" else fleet.orders.url
    fleet.orders = replace(fleet.orders, url=url, trials=64, epochs=2, epoch_seconds=0.0)
    workers = [fleet.start() for _ in range(32)]
    for worker in workers:
        ended(worker)
    assert len(whole(fleet).trials) == 64


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if mount is None or os.geteuid() != 0 or subprocess.run([mount, *options], check=False).returncode != 0:
        pytest.skip("a full disk takes a file system of our own, which only root may mount")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_full_disk_stops_the_worker_with_a_message_and_the_study_goes_on_after(fleet: Fleet, small_disk: Path) -> None:
    fleet.orders = replace(fleet.orders, url=f"sqlite:///{small_disk / 'study.db'}", trials=3, epoch_seconds=0.01)
    worker = fleet.start()
    fleet.wait(lambda: len(fleet.seen("report")) >= 3)
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"0" * 4096)
        except OSError:
            pass
    worker.join(60)
    assert worker.exitcode == 1
    (error,) = fleet.seen("error")
    assert error["text"].startswith("StorageError: ")
    assert "Free some disk space" in error["text"]
    assert "\n" not in error["text"]
    filler.unlink()
    fleet.run()
    verdict = judge(fleet)
    assert verdict.problems == []
    assert verdict.states == {"complete": 3}


def test_server_that_vanishes_without_a_word_is_given_up_within_half_a_minute(server: PostgresServer) -> None:
    """The sockets say so: to cut a cable takes a machine of one's own."""
    storage = open_storage(server.database(tcp=True))
    with storage.engine.connect() as connection:
        number = connection.connection.driver_connection.fileno()  # type: ignore[union-attr]
        with socket.socket(fileno=os.dup(number)) as opened:
            asked = opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
            idle = opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
    storage.engine.dispose()
    assert (asked, idle) == (30_000, 10)


def test_process_frozen_in_the_middle_of_a_transaction_holds_nobody_up(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or lost with its host: the server ends the transaction. Whoever wakes up begins it anew."""
    monkeypatch.setattr("studies.store.storage.HALF_DONE_SECONDS", 1)
    url = server.database(tcp=True)
    frozen, other = open_storage(url), open_storage(url)
    study_id = frozen.create_new_study([StudyDirection.MAXIMIZE], "s")
    begun = []

    def half_done(session: orm.Session) -> None:
        hold_study(session, study_id)
        begun.append(session)
        if len(begun) == 1:
            other.transaction(lambda others: hold_study(others, study_id))  # waits for the row
        STUDY_USER.write(session, study_id, {"written": len(begun)})

    frozen.transaction(half_done)
    assert other.get_study_user_attrs(study_id) == {"written": 2}
    frozen.engine.dispose()
    other.engine.dispose()


@pytest.mark.slow
def test_writer_who_keeps_the_turn_delays_the_others_and_stops_none(fleet: Fleet) -> None:
    """As one does that is frozen between two statements."""
    fleet.orders = replace(fleet.orders, trials=2, epochs=2, epoch_seconds=0.0)
    open_storage(fleet.orders.url).engine.dispose()
    with Path(f"{fleet.orders.url.removeprefix('sqlite:///')}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        worker = fleet.start()
        fleet.wait(lambda: fleet.seen("report"))
    ended(worker)
    assert whole(fleet).attempts == 0
