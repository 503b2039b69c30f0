"""When a search ends by `patience` or by `until_expected_gain`, and what the rest of its budget would have brought.

    python tests/benchmarks/curve_ending.py --seeds 5

A search as by default plays over real learning curves (`curve_table.py`) until its budget of settled trials is used up.
Noted is the first moment at which either limit would have ended it, and the best complete trial by then and in the end.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.curve_ours import Ours
from benchmarks.curve_table import Job, Table, load_table, play


class BudgetError(Exception):
    """It is used up."""


class Watched:
    """A search whose trials are counted."""

    def __init__(self, table: Table, seed: int, trials: int, patience: int, least: float) -> None:
        self._ours = Ours(table, seed, enough=self._expected)
        self._trials, self._patience, self._least = trials, patience, least
        self._gained_at = 0
        self.best: list[float] = []
        """The best complete trial after each that was settled."""
        self.ends: dict[str, int] = {}
        """After how many settled trials each limit would have ended it."""

    def _expected(self, gain: float) -> bool:
        if gain < self._least:
            self.ends.setdefault("expected gain", len(self.best))
        return False

    def ask(self) -> Job:
        return self._ours.ask()

    def report(self, job: Job, epoch: int, accuracy: float) -> bool:
        return self._ours.report(job, epoch, accuracy)

    def done(self, job: Job, accuracies: Sequence[float], *, stopped: bool) -> None:
        self._ours.done(job, accuracies, stopped=stopped)
        before = self.best[-1] if self.best else 0.0
        self.best.append(before if stopped else max(before, accuracies[-1]))
        if self.best[-1] > before:
            self._gained_at = len(self.best)
        elif len(self.best) - self._gained_at >= self._patience:
            self.ends.setdefault("patience", len(self.best))
        if len(self.best) >= self._trials:
            raise BudgetError


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--patience", type=int, default=20)
    parser.add_argument("--expected", type=float, default=0.002)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    for name in ("seed", "wide"):
        table = load_table(name)
        searches = []
        for seed in range(arguments.seeds):
            search = Watched(table, seed, arguments.trials, arguments.patience, arguments.expected)
            try:
                play(table, search, workers=2, horizon=1e9)
            except BudgetError:
                searches.append(search)
        for limit in ("patience", "expected gain"):
            ended = [each for each in searches if limit in each.ends]
            after = [each.ends[limit] for each in ended]
            lost = [100 * (each.best[-1] - each.best[each.ends[limit] - 1]) for each in ended]
            line = f"{name}: {limit} ended {len(ended)} of {len(searches)} searches of {arguments.trials} trials"
            if ended:
                line += f" after {sorted(after)} trials (median {statistics.median(after):g}); "
                line += f"the rest would have brought {[round(each, 2) for each in sorted(lost)]} points"
            print(line, flush=True)


if __name__ == "__main__":
    main()
