"""Two hosts, one cut off for two minutes, the other lost for good: is anything lost, and what does it cost?

    python tests/benchmarks/two_hosts.py

First both hosts, network namespaces with two workers each, work a study off undisturbed; then the same with host a's
link cut after a minute and back after two more, and host b's power cut after seven. Played training with epochs of 5 s;
all graces and timeouts are the real ones. Prints each figure next to what it has to be, and ends with 1 where one is
not. As root, with iproute2; 20 minutes, in which the machine has next to nothing to do.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.load import Figure
from null_worker import Orders
from postgres_server import PostgresServer
from two_hosts import Network, disturbed, undisturbed, why_not


def show(folder: Path, asked: argparse.Namespace) -> list[Figure]:
    with Network() as network:
        server = PostgresServer(folder / "server", network.address)
        orders = Orders(
            url="", home=folder, log=folder, trials=asked.trials, epochs=8, epoch_seconds=asked.epoch, pruner="none"
        )
        try:
            alone = undisturbed(folder / "alone", server, network, orders)
            print(f"undisturbed: {alone:.0f} s", file=sys.stderr, flush=True)
            when = {"cut_after": asked.cut_after, "cut_seconds": asked.cut, "kill_after": asked.kill_after}
            shown = disturbed(folder / "disturbed", server, network, orders, **when)
        finally:
            server.stop()
    verdict = shown.verdict
    for text in [*verdict.errors, *verdict.problems]:
        print(f"  {text}", file=sys.stderr)
    left = (4 * asked.kill_after - 2 * asked.cut) / 4
    return [
        Figure("trials", asked.trials),
        Figure("trials not complete", asked.trials - verdict.states.get("complete", 0), 0),
        Figure("trials run by two workers at a time", len(verdict.overlaps), 0),
        Figure("reports lost, trials stuck, budget missed", len(verdict.problems) - len(verdict.overlaps), 0),
        Figure("errors of a worker", len(verdict.errors), 0),
        Figure("runs repeated", shown.moved),
        Figure("late calls of the host cut off, discarded", shown.late),
        Figure("trials that it took after its return", shown.after_return),
        Figure("undisturbed, s", alone, is_time=True),
        Figure("with the cut and the loss, s", shown.seconds, is_time=True),
        Figure("times the undisturbed", shown.seconds / alone, 1.5, is_time=True),
        Figure("what the lost hours alone come to", (asked.kill_after + 2 * (alone - left)) / alone, is_time=True),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=48)
    parser.add_argument("--epoch", type=float, default=5.0, help="seconds")
    parser.add_argument("--cut-after", type=float, default=60.0, help="seconds from the start")
    parser.add_argument("--cut", type=float, default=120.0, help="seconds that host a is cut off")
    parser.add_argument("--kill-after", type=float, default=420.0, help="seconds from the start until host b is lost")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    if missing := why_not():
        raise SystemExit(missing)
    with tempfile.TemporaryDirectory(prefix="alexsearch-hosts-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        figures = show(Path(name), asked)
    if asked.json:
        print(json.dumps([asdict(figure) for figure in figures], indent=2))
    else:
        for figure in figures:
            print(figure.line)
    raise SystemExit(not all(figure.holds for figure in figures))


if __name__ == "__main__":
    main()
