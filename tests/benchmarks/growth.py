"""How far does it grow? 8, 64, 256 and 1,000 slots on one Postgres, their training played.

    python tests/benchmarks/growth.py --rows 8,64,256,1000 --keep growth.json      7 minutes; again, only missing rows
    python tests/benchmarks/growth.py --keep growth.json --draw docs/growth.png    the figure of what is kept

Every host is a whole `run_search`, with its beats, counts, notes and looks for the dead, as a thread of few processes;
a slot's training is a sleep. Hosts have `--slots` slots (8, as of a machine with eight GPUs), and one connection each;
with more than 90 of them they go through PgBouncer. An epoch takes 20 s by a clock that is compressed, and so are all
pauses of a host. Values are drawn at random, since a sampler's work is its host's own and would be done on two cores
here; trials are judged by `reach`, which looks at all others after every epoch.

The share of linear is the time that slots spent in training, of all time that there was, in a window that begins once
every slot has told of an epoch. The processor's time of Postgres, of PgBouncer and of the workers is told apart: where
those of the workers fill the machine, the figure says nothing of the database.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parents[1]))
from null_child import FINGERPRINT, NullChild, Played
from pgbouncer import pooled
from postgres_server import PostgresServer

import search.run.host
import search.training.places
import studies.queue.undertaker
from model.config import DataSpec, EpochMetrics
from search.base.home import Home
from search.run.request import RunRequest
from search.space.own_files import Own
from search.space.space import SearchSpace
from search.training.messages import Epoch, Finished, FromTrainer, Started, ToTrainer, Train, Validation, Verdict
from search.training.places import Place
from studies.queue.queue import Queue, Taken
from studies.record.catalog import open_study
from studies.store.opening import open_storage
from studies.store.schema import EPOCHS, SLOTS
from studies.store.tables import TRIALS

EPOCH_SECONDS = 20.0
EPOCHS_A_TRIAL = 5
PROCESSES = 2
MOST_DIRECT = 90
"""Of Postgres' 100 connections, some are its own."""
COMPRESSED = {8: 8.0, 64: 4.0, 256: 2.0, 1000: 1.0}


def space(trials: int) -> SearchSpace:
    return SearchSpace.from_dict(
        {
            "study": {"name": "growth", "trials": trials},
            "data": {"source": "synthetic", "validation_images": 400},
            "space": {
                "batch_size": {"choices": [32, 64]},
                "learning_rate": {"low": 0.001, "high": 0.1, "log": True},
                "epochs": EPOCHS_A_TRIAL,
            },
            "sampler": {"name": "random"},
        }
    )


class Sleeper(NullChild):
    """A training process that sleeps."""

    clock = 1.0
    slept: list[tuple[float, float]] = []  # noqa: RUF012 - of all of a process: when an epoch ended, how long it took

    def send(self, message: ToTrainer) -> None:
        if isinstance(message, Train):
            self._trial, self._left, self._told = message.trial, message.config.epochs, 0
            chance = random.Random(message.trial)  # else all would end their trials at the same time for ever
            self._rate, self._top = chance.uniform(0.8, 1.2), chance.uniform(0.4, 0.7)
            self._messages.put(Started(trial=message.trial, config=message.config, history=()))
            self._begin()
        elif isinstance(message, Verdict) and message.epoch == self._told:
            self._begin() if message.go and self._left else self._messages.put(Finished(trial=self._trial))

    def _begin(self) -> None:
        self._began = time.monotonic()

    def receive(self, timeout: float) -> FromTrainer | None:
        if not self._messages.empty():
            return self._messages.get()
        takes = EPOCH_SECONDS * self._rate / self.clock
        left = self._began + takes - time.monotonic()
        if left > timeout:
            time.sleep(timeout)
            return None
        time.sleep(max(0.0, left))
        self._told, self._left, self._began = self._told + 1, self._left - 1, float("inf")
        self.slept.append((time.monotonic(), takes))
        accuracy = self._top * (1 - 0.5**self._told)
        fixed = {"loss": 1.0, "accuracy": 0.5, "val_loss": 1.0, "learning_rate": 0.01, "seconds": EPOCH_SECONDS}
        return Epoch(trial=self._trial, metrics=EpochMetrics(epoch=self._told, val_accuracy=accuracy, **fixed))


class TimedQueue(Queue):
    """The real one; how long calls took, with what the workers' own processes made them wait."""

    taking: list[tuple[float, float]] = []  # noqa: RUF012 - of all of a process
    recording: list[tuple[float, float]] = []  # noqa: RUF012

    def take(self, *arguments: Any, **named: Any) -> Taken | None:
        begun = time.monotonic()
        taken = super().take(*arguments, **named)
        self.taking.append((time.monotonic(), time.monotonic() - begun))
        return taken

    def record_epoch(self, *arguments: Any, **named: Any) -> bool:
        begun = time.monotonic()
        held = super().record_epoch(*arguments, **named)
        self.recording.append((time.monotonic(), time.monotonic() - begun))
        return held


class Unseen:
    def __getattr__(self, _name: str) -> Any:
        return lambda *_: None


def hosts(url: str, folder: Path, trials: int, slots: list[int], clock: float, told: Connection) -> None:
    """A process of hosts, each of so many slots; ends when it is told anything, and answers with what took how long."""
    for module, name in (
        *((search.run.host, name) for name in ("BEAT_SECONDS", "COUNT_SECONDS", "NOTES_SECONDS")),
        *((studies.queue.undertaker, name) for name in ("BEAT_SECONDS", "GRACE_SECONDS")),
    ):
        setattr(module, name, getattr(module, name) / clock)
    played_too = {
        "Queue": TimedQueue,
        "provenance": partial(dict, host="played", versions={}),
    }  # no `git describe` each
    for name, value in played_too.items():
        setattr(search.run.host, name, value)
    Sleeper.clock = clock
    played, stopping = Played(), threading.Event()
    failed: list[str] = []

    def start(
        place: Place,
        data: DataSpec,
        cache: Path,
        log: Path,
        validation: Validation = "held-out",
        own: Own | None = None,
    ) -> Sleeper:
        del cache, own
        return Sleeper(played, place, data, log, validation)

    def host(index: int, count: int) -> None:
        stopping.wait(index * 0.05)
        try:
            request = RunRequest(
                space=space(trials),
                home=Home(folder / f"{os.getpid()}-{index}"),
                storage=open_storage(url, opening_patience_seconds=120),
                gpus=",".join(map(str, range(count))),
                joins=True,
                start=start,
            )
            search.run.host.run_search(request, Unseen(), stopping)
        except KeyboardInterrupt:
            pass
        except BaseException as error:  # noqa: BLE001 - told
            failed.append(f"{type(error).__name__}: {error}"[:300])

    os.environ[search.training.places.PRETEND] = str(max(slots))
    threads = [threading.Thread(target=host, args=each, daemon=True) for each in enumerate(slots)]
    for thread in threads:
        thread.start()
    told.recv()
    told.send((Sleeper.slept, TimedQueue.taking, TimedQueue.recording, failed))
    os._exit(0)


@dataclass(frozen=True)
class Row:
    """What so many slots came to."""

    slots: int
    hosts: int
    pooled: bool
    clock: float
    """How many times faster than it would be"""
    window_seconds: float
    share_of_linear: float
    epochs: int
    take_p50_ms: float
    take_p95_ms: float
    record_p50_ms: float
    record_p95_ms: float
    connections: int
    """To Postgres, of workers"""
    postgres_ms_an_epoch: float
    """Of a processor"""
    pgbouncer_ms_an_epoch: float
    workers_ms_an_epoch: float
    machine_busy: float
    """Share of both cores, of whatever ran"""
    wal_bytes_an_epoch: float
    rows_read_an_epoch: float
    errors: int


def measured(slots: int, a_host: int, clock: float, window: float) -> Row:
    with tempfile.TemporaryDirectory(prefix="alexsearch-growth-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        server = PostgresServer(folder / "server", settings="shared_buffers = 256MB\ntrack_counts = on")
        through = -(-slots // a_host) > MOST_DIRECT
        direct = server.database(tcp=True)
        try:
            with pooled(direct, folder / "pool", connections=20) if through else nullcontext(direct) as url:
                return _measured(server, direct, url, folder, slots, a_host, clock, window)
        finally:
            server.stop()


def _measured(
    server: PostgresServer, direct: str, url: str, folder: Path, slots: int, a_host: int, clock: float, window: float
) -> Row:
    trials = slots + int(slots * (window + 60) * clock / (EPOCH_SECONDS * EPOCHS_A_TRIAL) * 1.3)
    storage = open_storage(direct)
    data = {"source": "synthetic", "fingerprint": FINGERPRINT, "train_images": 1600, "validation_images": 400}
    study, _ = open_study(storage, "growth", {"space": space(trials).to_dict(), "data": data})
    Queue(storage, study.study_id).fill(trials)
    split = [min(a_host, slots - first) for first in range(0, slots, a_host)]
    context = multiprocessing.get_context("spawn")
    with _processes(context, url, folder, trials, split, clock) as pipes:
        _until_all_report(storage, slots, 60 + 0.3 * slots + EPOCH_SECONDS * 2.5 / clock)
        before, began = _state(server, direct), time.monotonic()
        connections = 0
        while (left := began + window - time.monotonic()) > 0:
            query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'alexsearch'"
            connections = max(connections, server.ask(query)[0][0] - 1)
            time.sleep(min(left, 5.0))
        ended, after = time.monotonic(), _state(server, direct)
        for pipe in pipes:
            pipe.send("end")
        slept, taking, recording, failed = (
            [each for part in of for each in part] for of in zip(*map(Connection.recv, pipes), strict=True)
        )
    storage.engine.dispose()
    for text in failed[:5]:
        print(f"  {text}", file=sys.stderr)

    def within(moments: list[tuple[float, float]]) -> list[float]:
        return sorted(took for at, took in moments if began <= at < ended) or [0.0]

    epochs = len(within(recording))
    spent = {name: 1000 * (after[name] - before[name]) / epochs for name in ("postgres", "pgbouncer", "python")}
    return Row(
        slots=slots,
        hosts=len(split),
        pooled=url != direct,
        clock=clock,
        window_seconds=ended - began,
        share_of_linear=sum(within(slept)) / (slots * (ended - began)),
        epochs=epochs,
        take_p50_ms=1000 * _quantile(within(taking), 0.5),
        take_p95_ms=1000 * _quantile(within(taking), 0.95),
        record_p50_ms=1000 * _quantile(within(recording), 0.5),
        record_p95_ms=1000 * _quantile(within(recording), 0.95),
        connections=connections,
        postgres_ms_an_epoch=spent["postgres"],
        pgbouncer_ms_an_epoch=spent["pgbouncer"],
        workers_ms_an_epoch=spent["python"],
        machine_busy=(after["busy"] - before["busy"]) / (ended - began) / (psutil.cpu_count() or 1),
        wal_bytes_an_epoch=(after["wal"] - before["wal"]) / epochs,
        rows_read_an_epoch=(after["rows"] - before["rows"]) / epochs,
        errors=len(failed),
    )


@contextmanager
def _processes(
    context: Any, url: str, folder: Path, trials: int, split: list[int], clock: float
) -> Iterator[list[Connection]]:
    """The processes that play hosts, at a lower priority than the server's."""
    processes, pipes = [], []
    try:
        for each in range(min(PROCESSES, len(split))):
            here, there = context.Pipe()
            arguments = (url, folder, trials, split[each::PROCESSES], clock, there)
            process = context.Process(target=hosts, args=arguments, daemon=True)
            process.start()
            processes.append(process)
            pipes.append(here)
        yield pipes
    finally:
        for process in processes:
            process.kill()
            process.join(30)


def _until_all_report(storage: Any, slots: int, seconds: float) -> None:
    until = time.monotonic() + seconds
    begun = sa.select(sa.func.count(sa.distinct(SLOTS.c.slot_id))).where(SLOTS.c.trial_id.is_not(None))
    reported = sa.select(sa.func.count(sa.distinct(EPOCHS.c.trial_id))).join(
        TRIALS, TRIALS.c.trial_id == EPOCHS.c.trial_id
    )
    while True:
        at_work, told = storage.read(lambda session: (session.scalar(begun), session.scalar(reported)))
        if at_work >= 0.95 * slots and told >= slots:
            return
        if time.monotonic() > until:
            raise SystemExit(f"only {at_work} of {slots} slots have a trial, and {told} trials an epoch")
        time.sleep(1.0)


def _state(server: PostgresServer, direct: str) -> dict[str, float]:
    """Processor seconds by what took them, and what Postgres has written and read, all since its start."""
    found = dict.fromkeys(("postgres", "pgbouncer", "python"), 0.0)
    ours = {process.pid for process in psutil.Process().children(recursive=True)}
    postmaster = int(Path(server.ask("SHOW data_directory")[0][0], "postmaster.pid").read_text().split()[0])
    ours |= {postmaster, *(child.pid for child in psutil.Process(postmaster).children(recursive=True))}
    for pid in ours | {process.pid for process in psutil.process_iter() if process.name() == "pgbouncer"}:
        try:
            process = psutil.Process(pid)
            name, times = process.name(), process.cpu_times()
        except psutil.Error:
            continue
        kind = next((kind for kind in ("postgres", "pgbouncer") if kind in name), "python")
        found[kind] += times.user + times.system
    found["wal"] = float(server.ask("SELECT pg_current_wal_lsn() - '0/0'")[0][0])
    rows = f"SELECT tup_returned FROM pg_stat_database WHERE datname = '{direct.rpartition('/')[2].partition('?')[0]}'"
    server.ask("SELECT pg_stat_force_next_flush()")
    found["rows"] = float(server.ask(rows)[0][0])
    cpu = psutil.cpu_times()
    found["busy"] = sum(cpu) - cpu.idle - cpu.iowait - cpu.guest - cpu.guest_nice
    return found


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def told(rows: list[Row]) -> str:
    """The rows as the table of docs/measurements.md."""
    lines = [
        "| slots (hosts) | of linear | take, p50 and p95 | an epoch's record, p50 and p95 | connections | Postgres, ms "
        "of a processor an epoch | workers | WAL an epoch | rows read an epoch | both cores busy |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        through = ", PgBouncer" if row.pooled else ""
        costs = f"{row.postgres_ms_an_epoch:.1f} | {row.workers_ms_an_epoch:.1f}"
        lines.append(
            f"| {row.slots:,} ({row.hosts}{through}) | {row.share_of_linear:.1%} | {row.take_p50_ms:.0f}, "
            f"{row.take_p95_ms:.0f} ms | {row.record_p50_ms:.0f}, {row.record_p95_ms:.0f} ms | {row.connections} | "
            f"{costs} | {row.wal_bytes_an_epoch / 1000:.1f} kB | "
            f"{row.rows_read_an_epoch:,.0f} | {row.machine_busy:.0%} |"
        )
    return "\n".join(lines)


def drawn(rows: list[Row], path: Path) -> None:
    """The share of linear, and what an epoch costs, by the number of slots."""
    from studies.draw.picture import BLUE, GREY, ORANGE, new_picture, percent, save

    figure, (share, cost) = new_picture(9.5, 3.6, columns=2)
    slots = [row.slots for row in rows]
    share.plot(slots, [row.share_of_linear for row in rows], color=BLUE, marker="o")
    share.plot(
        [64, 256], [0.95, 0.9], color=ORANGE, marker="_", markersize=18, linestyle="none", label="goal (64, 256 slots)"
    )
    share.set(ylim=(0.5, 1.02), title="Training, of all time there is", xlabel="slots")
    percent(share)
    cost.plot(slots, [row.postgres_ms_an_epoch for row in rows], color=BLUE, marker="o", label="Postgres")
    cost.plot(slots, [row.workers_ms_an_epoch for row in rows], color=GREY, marker="s", label="all workers")
    cost.set(title="An epoch's processor time, ms", xlabel="slots")
    cost.set_ylim(bottom=0)
    for axes in (share, cost):
        axes.set_xscale("log")
        axes.set_xticks(slots, [f"{each:,}" for each in slots])
        axes.minorticks_off()
        axes.legend(frameon=False)
    save(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="8,64,256,1000", help="numbers of slots")
    parser.add_argument("--slots", type=int, default=8, help="of a host")
    parser.add_argument("--clock", type=float, help="how many times faster than it would be")
    parser.add_argument("--window", type=float, default=45.0, help="seconds that are measured")
    parser.add_argument("--keep", type=Path, help="a JSON file: rows in it are not measured again")
    parser.add_argument("--draw", type=Path, help="draw what is kept, and measure nothing")
    asked = parser.parse_args()
    kept = json.loads(asked.keep.read_text()) if asked.keep and asked.keep.exists() else []
    rows = [Row(**each) for each in kept]
    if asked.draw:
        drawn(sorted((row for row in rows if row.slots > row.hosts), key=lambda row: row.slots), asked.draw)
        print(told(rows))
        return
    for slots in map(int, asked.rows.split(",")):
        if any((row.slots, row.hosts) == (slots, -(-slots // asked.slots)) for row in rows):
            continue
        clock = asked.clock or COMPRESSED.get(slots) or min(10.0, 1000 / slots)
        window = max(asked.window, 1.5 * EPOCH_SECONDS / clock)
        print(f"{slots} slots", file=sys.stderr, flush=True)
        rows.append(measured(slots, asked.slots, clock, window))
        if asked.keep:
            asked.keep.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
        print(json.dumps(asdict(rows[-1]), indent=1), file=sys.stderr, flush=True)
    print(told(rows))


if __name__ == "__main__":
    main()
