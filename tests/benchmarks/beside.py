"""Does a run get slower by those who look at it? A null-training run with and without clients of the dashboard.

    python tests/benchmarks/beside.py [--clients 50] [--seconds 60] [--turns 3] [--epoch 0.2] [--json]

One worker of two slots, whose "training" waits `--epoch` seconds, on an SQLite file; `alexsearch dashboard` over it all
the time, a process of its own as a user starts it. In turns of `--seconds` nobody looks and `--clients` look: each asks
for the study's page again as soon and as often as a browser does, every two seconds. The rate of a turn is the epochs
that the database has acknowledged in it. Ends with 1 where the median rate falls by more than a twentieth. All of it
happens in a temporary folder.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import asdict
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.load import Figure, orders_for, quantile, reporting_workers
from benchmarks.pages import ask, served
from fleet import Fleet

REFRESH_SECONDS = 2.0
"""Of the page of a study that runs"""


class Clients:
    """Browsers on one page, evenly spread over the time between two looks."""

    def __init__(self, address: str, page: str, count: int) -> None:
        self.seconds: list[float] = []
        self._ended = threading.Event()
        given = [(address, page, REFRESH_SECONDS * number / count) for number in range(count)]
        self._threads = [threading.Thread(target=self._look, args=each, daemon=True) for each in given]
        for thread in self._threads:
            thread.start()

    def _look(self, address: str, page: str, begin: float) -> None:
        self._ended.wait(begin)
        while not self._ended.is_set():
            self.seconds.append(ask(address, page)[0])
            self._ended.wait(REFRESH_SECONDS)

    def end(self) -> list[float]:
        """How long each look took."""
        self._ended.set()
        for thread in self._threads:
            thread.join()
        return self.seconds


def rate(fleet: Fleet, begun: float, ended: float) -> float:
    """Epochs a second that were acknowledged within these moments of CLOCK_MONOTONIC."""
    return sum(1 for line in fleet.seen("report") if begun <= line["at"] < ended) / (ended - begun)


def beside(folder: Path, clients: int, seconds: float, turns: int, epoch_seconds: float) -> list[Figure]:
    """The rates of both kinds of turns, one after the other."""
    orders = orders_for(folder, trials=1_000, epochs=20, epoch_seconds=epoch_seconds, slots=2)
    page = "/studies/1"
    fleet = Fleet(orders)
    quiet: list[float] = []
    watched: list[float] = []
    looks: list[float] = []
    work: list[float] = []
    try:
        fleet.start()
        fleet.wait(lambda: reporting_workers(fleet) > 0, 120)
        with served(orders.url, orders.home) as (address, pid, _):
            ask(address, page)
            server = psutil.Process(pid)
            for turn in range(2 * turns):
                # Nobody looks first, then they do; the next time the other way round.
                is_watched = turn % 4 in (1, 2)
                visitors = Clients(address, page, clients) if is_watched else None
                begun, before = time.monotonic(), sum(server.cpu_times()[:2])
                time.sleep(seconds)
                (watched if visitors else quiet).append(rate(fleet, begun, time.monotonic()))
                if visitors:
                    work.append((sum(server.cpu_times()[:2]) - before) / seconds)
                    looks += visitors.end()
    finally:
        fleet.close()
    slower = 1 - statistics.median(watched) / statistics.median(quiet)
    return [
        Figure("clients", clients),
        Figure("epochs a second, nobody looks, median", statistics.median(quiet)),
        Figure("the same, slowest turn", min(quiet)),
        Figure("the same, fastest turn", max(quiet)),
        Figure("epochs a second, they look, median", statistics.median(watched)),
        Figure("the same, slowest turn", min(watched)),
        Figure("the same, fastest turn", max(watched)),
        Figure("slower by, share", slower, 0.05),
        Figure("pages answered", len(looks)),
        Figure("a page, median, s", statistics.median(looks), is_time=True),
        Figure("a page, 95 of 100, s", quantile(looks, 0.95), is_time=True),
        Figure("processors that the server was at, median", statistics.median(work)),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0, help="of a turn")
    parser.add_argument("--turns", type=int, default=3, help="of each kind")
    parser.add_argument("--epoch", type=float, default=0.2, help="seconds that an epoch waits")
    parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="alexsearch-beside-", ignore_cleanup_errors=True) as name:
        figures = beside(Path(name), asked.clients, asked.seconds, asked.turns, asked.epoch)
    if asked.json:
        print(json.dumps([asdict(figure) for figure in figures], indent=2))
    else:
        for figure in figures:
            print(figure.line)
    raise SystemExit(not all(figure.holds for figure in figures))


if __name__ == "__main__":
    main()
