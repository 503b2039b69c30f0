"""Does it hold under load? Real workers, real databases, null training.

    python tests/benchmarks/load.py sqlite --minutes 10      16 workers on one SQLite file, 20 reports a trial
    python tests/benchmarks/load.py postgres --minutes 5     64 workers on a server with max_connections = 100
    python tests/benchmarks/load.py kill                     200 random `kill -9` on each database
    python tests/benchmarks/load.py own                      the same of real runs of a function, and of its processes
    python tests/benchmarks/load.py large                    a study of 10,000 trials: take, ask, `alexsearch status`
    python tests/benchmarks/load.py outage --seconds 60      Postgres away for a minute under a run

prints each figure next to what it has to be, and ends with 1 where one is not. All of it happens in a temporary folder.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from optuna.distributions import CategoricalDistribution, FloatDistribution, distribution_to_json
from optuna.trial import TrialState

from search.choosing.proposing import StudyOfLessons, propose
from studies.queue.queue import Queue
from studies.record.catalog import open_study
from studies.store.cache import StartedTrials
from studies.store.opening import open_storage
from studies.store.tables import PARAMS, TRIAL_USER, TRIALS, VALUES
from studies.store.tables import REPORTS as REPORT_ROWS

sys.path.insert(0, str(Path(__file__).parents[1]))
from fleet import Fleet, Verdict, judge
from null_worker import Orders, space_of
from own_fleet import OwnFleet
from own_fleet import judge as judge_own
from postgres_server import PostgresServer
from study_maker import DATA

REPORTS = 20


@dataclass(frozen=True)
class Figure:
    """Something measured, and the most it may be."""

    name: str
    value: float
    most: float | None = None
    is_time: bool = False
    """Seconds, which depend on what else the machine does."""

    @property
    def holds(self) -> bool:
        return self.most is None or self.value <= self.most

    @property
    def line(self) -> str:
        bound = "" if self.most is None else f"at most {self.most:g}"
        said = f"{self.value:.4g}" if isinstance(self.value, float) else str(self.value)
        return f"  {self.name:45} {said:>10}  {bound:14}{'' if self.holds else ' NO'}"


def orders_for(folder: Path, url: str = "", **values: Any) -> Orders:
    folder.mkdir(parents=True, exist_ok=True)
    url = url or f"sqlite:///{folder / 'study.db'}"
    return Orders(url=url, home=folder / "home", log=folder / "log", **values)


def keep_busy(orders: Orders, workers: int, seconds: float, each: Callable[[Fleet], None] = lambda _: None) -> Verdict:
    """Run so many workers for so long, have them stop, and judge what they left."""
    fleet = Fleet(orders)
    try:
        for _ in range(workers):
            fleet.start()
        fleet.wait(lambda: reporting_workers(fleet) >= workers or fleet.seen("error"), 60 + 10 * workers)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            each(fleet)
            time.sleep(0.2)
        for worker in fleet.workers:
            worker.terminate()
        for worker in fleet.workers:
            worker.join(60)
        return judge(fleet, to_the_end=False)
    finally:
        fleet.close()


def reporting_workers(fleet: Fleet) -> int:
    return len({line["pid"] for line in fleet.seen("report")})


def soundness(verdict: Verdict) -> list[Figure]:
    for text in [*verdict.errors, *verdict.problems][:20]:
        print(f"  {text}", file=sys.stderr)
    return [
        Figure("errors of a worker", len(verdict.errors), 0),
        Figure("trials run by two workers at a time", len(verdict.overlaps), 0),
        Figure("reports lost, trials stuck, budget missed", len(verdict.problems) - len(verdict.overlaps), 0),
        Figure("trials settled", sum(verdict.states.get(state, 0) for state in ("complete", "pruned", "fail"))),
    ]


def reporting(verdict: Verdict) -> list[Figure]:
    slowest = max(verdict.reports, default=0.0)
    return [
        Figure("reports acknowledged", len(verdict.reports)),
        Figure("slowest report, s", slowest, 5.0, is_time=True),
        Figure("median report, s", statistics.median(verdict.reports or [0.0]), is_time=True),
    ]


def sqlite(folder: Path, workers: int = 16, seconds: float = 600, trials: int = 20_000) -> list[Figure]:
    """Many workers on one SQLite file."""
    orders = orders_for(folder, trials=trials, epochs=REPORTS, epoch_seconds=0.05, pruner="median")
    verdict = keep_busy(orders, workers, seconds)
    return [Figure("workers", workers), *soundness(verdict), *reporting(verdict)]


def postgres(folder: Path, workers: int = 64, seconds: float = 300, trials: int = 20_000) -> list[Figure]:
    """Many workers, each a process, on a Postgres server of 100 connections."""
    server = PostgresServer(folder / "server")
    limit = int(server.ask("SHOW max_connections")[0][0])
    orders = orders_for(folder, server.database(), trials=trials, epochs=REPORTS, epoch_seconds=0.2, pruner="median")
    most = 0

    def look(_fleet: Fleet) -> None:
        nonlocal most
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'alexsearch'"
        most = max(most, server.ask(query)[0][0])

    try:
        verdict = keep_busy(orders, workers, seconds, look)
    finally:
        server.stop()
    connections = Figure("most connections a worker", most / workers, 1.25)
    return [
        Figure("workers", workers),
        Figure("max_connections", limit),
        connections,
        *soundness(verdict),
        *reporting(verdict),
    ]


def kill(orders: Orders, kills: int = 200, workers: int = 6) -> list[Figure]:
    """`kill -9` one worker after another at random moments, then let one finish the study."""
    fleet = Fleet(replace(orders, trials=10 * kills, epochs=REPORTS, epoch_seconds=0.002))
    try:
        killed = fleet.kill_at_random(kills, workers, random.Random(200), between=(0.02, 0.6))
        fleet.wait(lambda: not any(worker.is_alive() for worker in fleet.workers), 3600)
        fleet.start().join(3600)  # what it met is judged
        verdict = judge(fleet)
    finally:
        fleet.close()
    failed = verdict.states.get("fail", 0)
    missed = abs(sum(verdict.states.values()) - fleet.orders.trials)
    return [
        Figure("workers killed", killed),
        Figure("trials too many or too few", missed, 0),
        Figure("runs repeated after a kill", verdict.attempts),
        Figure("trials failed for good (killed four times)", failed),
        *soundness(verdict),
    ]


def own(folder: Path, url: str = "", kills: int = 200, workers: int = 4, epochs: int = 10) -> list[Figure]:
    """`kill -9` real workers and the processes of a real function at random moments, then settle what is left."""
    url = url or f"sqlite:///{folder / 'study.db'}"
    fleet = OwnFleet(folder, url, trials=2 * kills, epochs=epochs)
    try:
        killed = fleet.kill_at_random(kills, workers, random.Random(kills))
        fleet.finish(3600)
        verdict = judge_own(fleet)
    finally:
        fleet.close()
    wrong = {
        "trials too many, too few or not settled": verdict.budget,
        "reports lost": verdict.lost,
        "trials trained by two, epochs trained again": verdict.twice,
        "processes and slots left": verdict.left,
        "errors of a worker": verdict.errors,
    }
    for text in [text for texts in wrong.values() for text in texts][:20]:
        print(f"  {text}", file=sys.stderr)
    return [
        Figure("workers killed", killed["workers"]),
        Figure("training processes killed", killed["training processes"]),
        Figure("trials", 2 * kills),
        Figure("epochs reported", verdict.reports),
        Figure("runs repeated after a kill", verdict.attempts),
        Figure("trials failed for good (killed four times)", verdict.states.get("fail", 0)),
        *(Figure(name, len(texts), 0) for name, texts in wrong.items()),
    ]


def large(folder: Path, url: str = "", trials: int = 10_000, settled: int = 5_000, takes: int = 40) -> list[Figure]:
    """Taking a trial of a large study, the sampler's values included, and `alexsearch status`."""
    orders = orders_for(folder, url, trials=trials, epochs=REPORTS)
    queue = large_study(orders, settled)
    study = StudyOfLessons("s", StartedTrials(queue.storage))
    slot, space = queue.join("cpu"), space_of(orders)
    study.get_trials(deepcopy=False)  # once in the life of a host
    taking, asking = [], []
    for _ in range(takes):
        begun = time.perf_counter()
        taken = queue.take(slot)
        assert taken is not None
        took = time.perf_counter()
        propose(study, taken.trial_id, taken.number, space)
        asked = time.perf_counter()
        queue.settle(slot, taken.trial_id, TrialState.COMPLETE, 0.5, {})
        taking.append(took - begun)
        asking.append(asked - begun)
    queue.storage.engine.dispose()
    status = []
    command = [sys.executable, "-m", "search.cli.main", "status", "--study", "s", "--json"]
    environment = os.environ | {"ALEXSEARCH_STORAGE": orders.url, "ALEXSEARCH_HOME": str(orders.home)}
    for _ in range(min(8, takes)):
        begun = time.perf_counter()
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
        status.append(time.perf_counter() - begun)
    return [
        Figure("trials", trials),
        Figure("of them settled", settled),
        Figure("take, p50, s", quantile(taking, 0.5), is_time=True),
        Figure("take, p95, s", quantile(taking, 0.95), is_time=True),
        Figure("take and ask, p50, s", quantile(asking, 0.5), is_time=True),
        Figure("take and ask, p95, s", quantile(asking, 0.95), 0.3, is_time=True),
        Figure("alexsearch status, p50, s", quantile(status, 0.5), is_time=True),
        Figure("alexsearch status, slowest, s", max(status), 2.0, is_time=True),
    ]


def large_study(orders: Orders, settled: int) -> Queue:
    """A study whose first trials are settled, written straight into the tables."""
    storage = open_storage(orders.url)
    study, _ = open_study(storage, "s", {"space": space_of(orders).to_dict(), "data": DATA})
    queue = Queue(storage, study.study_id)
    queue.fill(orders.trials)
    chance, now = random.Random(0), datetime.datetime.now()
    rate = distribution_to_json(FloatDistribution(0.001, 0.1, log=True))
    size = distribution_to_json(CategoricalDistribution([32, 64]))
    attributes = {
        "config": {"batch_size": 32, "learning_rate": 0.01, "epochs": REPORTS, "schedule": "constant"},
        "versions": {"python": "3.11", "tensorflow": "2.21", "keras": "3.15", "numpy": "2.3", "optuna": "5.0"},
        **{"seconds": 12.0, "epochs_run": REPORTS, "device": "cpu", "git_commit": "0" * 40, "host": "h"},
    }
    trial = TRIALS.c
    with storage.engine.begin() as connection:
        first = sa.select(trial.trial_id).order_by(trial.number).limit(settled)
        ids = connection.execute(first).scalars().all()
        done = {"state": TrialState.COMPLETE, "datetime_start": now, "datetime_complete": now}
        connection.execute(sa.update(TRIALS).where(trial.number < settled).values(**done))
        rows: dict[Any, list[dict[str, Any]]] = {
            PARAMS: [
                {"trial_id": i, "param_name": name, "param_value": value, "distribution_json": distribution}
                for i in ids
                for name, value, distribution in (
                    ("batch_size", chance.randrange(2), size),
                    ("learning_rate", 10 ** chance.uniform(-3, -1), rate),
                )
            ],
            VALUES: [{"trial_id": i, "objective": 0, "value": chance.random(), "value_type": "FINITE"} for i in ids],
            REPORT_ROWS: [
                {"trial_id": i, "step": step, "intermediate_value": 0.5, "intermediate_value_type": "FINITE"}
                for i in ids
                for step in range(1, REPORTS + 1)
            ],
            TRIAL_USER: [
                {"trial_id": i, "key": key, "value_json": json.dumps(value)}
                for i in ids
                for key, value in attributes.items()
            ],
        }
        for table, values in rows.items():
            if values:
                connection.execute(sa.insert(table), values)
    return queue


def outage(folder: Path, away_seconds: float = 60.0, workers: int = 4) -> list[Figure]:
    """Postgres crashes under a run and comes back after a while; the grace is the real one, 60 s."""
    server = PostgresServer(folder / "server")
    trials = workers * (2 + int(away_seconds / (REPORTS * 0.5)))
    orders = orders_for(folder, server.database(), trials=trials, epochs=REPORTS, epoch_seconds=0.5)
    fleet = Fleet(orders)
    try:
        for _ in range(workers):
            fleet.start()
        fleet.wait(lambda: len(fleet.seen("report")) >= 3 * workers)
        begun = time.monotonic()
        server.stop()
        time.sleep(away_seconds)
        ended = time.monotonic()
        server.start()
        fleet.wait(lambda: not any(worker.is_alive() for worker in fleet.workers), 600)
        first = min(line["at"] for line in fleet.seen("report") if line["at"] > ended)
        trained = sum(begun + 1 < line["at"] < ended for line in fleet.seen("trained"))
        verdict = judge(fleet)
    finally:
        fleet.close()
        server.stop()
    return [
        Figure("seconds away", away_seconds),
        Figure("epochs trained meanwhile", trained),
        Figure("first report after it is back, s", first - ended, is_time=True),
        Figure("live workers taken for dead", verdict.attempts, 0),
        *soundness(verdict),
    ]


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def both(folder: Path, load: Callable[[Path, str], list[Figure]]) -> dict[str, list[Figure]]:
    found = {"sqlite": load(folder / "sqlite", "")}
    server = PostgresServer(folder / "server")
    try:
        found["postgres"] = load(folder / "postgres", server.database())
    finally:
        server.stop()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("load", choices=["sqlite", "postgres", "kill", "own", "large", "outage"])
    parser.add_argument("--minutes", type=float, default=10.0, help="of the loads sqlite and postgres")
    parser.add_argument("--workers", type=int, help="processes at a time")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--settled", type=int, default=5_000, help="trials of the large study that are settled already")
    parser.add_argument("--seconds", type=float, default=60.0, help="that the database is away")
    parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    asked = parser.parse_args()
    workers = {"workers": asked.workers} if asked.workers else {}
    with tempfile.TemporaryDirectory(prefix="alexsearch-load-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        match asked.load:
            case "sqlite":
                found = {"sqlite": sqlite(folder, seconds=60 * asked.minutes, **workers)}
            case "postgres":
                found = {"postgres": postgres(folder, seconds=60 * asked.minutes, **workers)}
            case "kill":
                orders = {"trials": 1, "epochs": 1}
                found = both(folder, lambda at, url: kill(orders_for(at, url, **orders), asked.kills, **workers))
            case "own":
                found = both(folder, lambda at, url: own(at, url, asked.kills, **workers))
            case "large":
                found = both(folder, lambda at, url: large(at, url, settled=asked.settled))
            case _:
                found = {"postgres": outage(folder, asked.seconds, **workers)}
    if asked.json:
        print(json.dumps({kind: [asdict(figure) for figure in figures] for kind, figures in found.items()}, indent=2))
    else:
        for kind, figures in found.items():
            print(f"{asked.load} on {kind}" if kind != asked.load else asked.load)
            for figure in figures:
                print(figure.line)
    raise SystemExit(not all(figure.holds for figures in found.values() for figure in figures))


if __name__ == "__main__":
    main()
