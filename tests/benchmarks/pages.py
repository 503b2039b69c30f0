"""How long a browser waits for the dashboard's pages over a large study, and how much memory the server takes.

    python tests/benchmarks/pages.py [--trials 10000] [--settled 9900] [--json]

starts `alexsearch dashboard` as a user does, over SQLite and over Postgres, asks for pages as browsers do, and prints
each figure next to what it has to be. Between two asks a trial is taken, reports an epoch and is settled, as in a run.
Ends with 1 where a figure is not what it has to be. All of it happens in a temporary folder.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

from optuna.trial import TrialState

from studies.queue.queue import Queue

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.load import Figure, both, large_study, orders_for

EPOCH = {"loss": 1.0, "accuracy": 0.5, "val_loss": 1.0, "val_accuracy": 0.5, "learning_rate": 0.1, "seconds": 2.0}


@contextmanager
def served(url: str, home: Path) -> Iterator[tuple[str, int, float]]:
    """`alexsearch dashboard` over a database: its address, its process and how long it took to say so."""
    environment = os.environ | {"ALEXSEARCH_STORAGE": url, "ALEXSEARCH_HOME": str(home)}
    command = [sys.executable, "-m", "search.cli.main", "dashboard", "--port", "0"]
    begun = time.perf_counter()
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().split()[1]
            yield address.rstrip("/"), server.pid, time.perf_counter() - begun
        finally:
            server.terminate()


def ask(address: str, path: str) -> tuple[float, int]:
    """Seconds until the whole answer was here, and its bytes."""
    place = urlsplit(address)
    begun = time.perf_counter()
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=300)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    assert answer.status == 200, (path, answer.status, body[:500])
    return time.perf_counter() - begun, len(body)


def go_on(queue: Queue, slot: str) -> None:
    """What happens in a run between two looks: a trial is settled."""
    taken = queue.take(slot)
    if taken is not None:
        queue.record_epoch(slot, taken.trial_id, {**EPOCH, "epoch": 1}, images_per_second=900.0)
        queue.settle(slot, taken.trial_id, TrialState.COMPLETE, 0.5, {"seconds": 2.0, "epochs_run": 1})


def peak_mb(pid: int) -> float:
    """The most memory that the process ever held, in MB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 1000


def pages(folder: Path, url: str = "", trials: int = 10_000, settled: int = 9_900, looks: int = 20) -> list[Figure]:
    """One person who looks at a study while it runs, on our pages and on optuna-dashboard's."""
    orders = orders_for(folder, url, trials=trials, epochs=20)
    queue = large_study(orders, settled)
    slot, study = queue.join("cpu"), f"/studies/{queue.study_id}"
    with served(orders.url, orders.home) as (address, pid, up):
        first_list, first_study = ask(address, "/")[0], ask(address, study)[0]
        refreshes: list[float] = []
        for _ in range(looks):
            go_on(queue, slot)
            refreshes.append(ask(address, study)[0])
        others = {
            name: ask(address, path)[0]
            for name, path in (
                ("one trial, s", f"{study}/trials/1"),
                ("eight compared, s", f"{study}/compare?trial=" + ",".join(map(str, range(8)))),
                ("the best, s", f"{study}/best"),
            )
        }
        ours = peak_mb(pid)
    api = f"/api/studies/{queue.study_id}"
    with served(orders.url, orders.home) as (address, pid, _):
        theirs = sum(ask(address, path)[0] for path in (f"/dashboard{study}", "/static/bundle.js", "/api/meta"))
        seconds, size = ask(address, api)
        polls: list[float] = []
        for _ in range(min(looks, 5)):
            go_on(queue, slot)
            polls.append(ask(address, f"{api}?after={settled}")[0])
        again = ask(address, api)[0]
        both_kinds = peak_mb(pid)
    queue.storage.engine.dispose()
    return [
        Figure("trials", trials),
        Figure("of them settled", settled),
        Figure("server is up, s", up, 3.0, is_time=True),
        Figure("list of studies, right after, s", first_list, 2.0, is_time=True),
        Figure("a study's page, the first time, s", first_study, 2.0, is_time=True),
        Figure("the same asked again, median, s", statistics.median(refreshes), is_time=True),
        Figure("the same asked again, slowest, s", max(refreshes), 1.0, is_time=True),
        *(Figure(name, value, 1.0, is_time=True) for name, value in others.items()),
        Figure("memory of the server, MB", ours, 600),
        Figure("optuna-dashboard's page, the first time, s", theirs + seconds, 2.0, is_time=True),
        Figure("its data, MB", size / 1e6),
        Figure("the same page again, s", again, is_time=True),
        Figure("its poll, slowest, s", max(polls), 1.0, is_time=True),
        Figure("memory of the server, its pages served, MB", both_kinds, 600),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--settled", type=int, default=9_900)
    parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="alexsearch-pages-", ignore_cleanup_errors=True) as name:
        found = both(Path(name), lambda at, url: pages(at, url, asked.trials, asked.settled))
    if asked.json:
        print(json.dumps({kind: [asdict(figure) for figure in figures] for kind, figures in found.items()}, indent=2))
    else:
        for kind, figures in found.items():
            print(f"pages on {kind}")
            for figure in figures:
                print(figure.line)
    raise SystemExit(not all(figure.holds for figures in found.values() for figure in figures))


if __name__ == "__main__":
    main()
