"""How soon does a search find the best of a space, and what does its pruning throw away? Ours against other tools.

    python tests/benchmarks/curve_replay.py                            all tools that are installed, all spaces
    python tests/benchmarks/curve_replay.py --only alexsearch --seeds 100
    python tests/benchmarks/curve_replay.py --without BORE/Bayesian    two that take ten seconds of a CPU a search
    pip install -r tests/benchmarks/others.lock                        the other tools

Every tool searches the same learning curves, which were really trained (see curve_table.py), with the same number of
workers by the same simulated clock; seeds are interleaved. Printed for each, over the seeds:

* seconds until it had trained a configuration within half a point of the best, as median and quartiles, and in how many
  of the seeds it did;
* the best it had found once its workers had the time of three of the longest trials each, below the best there is;
* of the best tenth of all configurations: how many of those that it began it had pruned and never finished;
* the share of training time that pruning saved.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from search.space.pruners import HyperbandSpec, MedianSpec, NoPruningSpec, SuccessiveHalvingSpec, WilcoxonSpec
from search.space.samplers import TpeSpec

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks import curve_kerastuner, curve_raytune, curve_sceptics, curve_synetune
from benchmarks.curve_ours import Ours, OursPausing, PlainOptuna, random_search
from benchmarks.curve_table import Course, Searcher, Table, load_table, play

Make = Callable[[Table, int], Searcher]

NEAR = 0.005
"""Half a point: how close to the best counts as having found it."""
SHORT = 3
TABLES = ("seed", "wide", "brief", "long")
"""What is searched by default was tried on the first two; the others were collected after that."""
OURS: Mapping[str, Make] = {
    "alexsearch": Ours,
    "alexsearch, pause": OursPausing,
    "alexsearch, tpe": lambda table, seed: Ours(table, seed, sampler=TpeSpec()),
    "alexsearch, tpe, median": lambda table, seed: Ours(table, seed, MedianSpec(), TpeSpec()),
    "alexsearch, tpe, successive halving": lambda table, seed: Ours(table, seed, SuccessiveHalvingSpec(), TpeSpec()),
    "alexsearch, tpe, Hyperband": lambda table, seed: Ours(table, seed, HyperbandSpec(), TpeSpec()),
    "alexsearch, tpe, Wilcoxon": lambda table, seed: Ours(table, seed, WilcoxonSpec(), TpeSpec()),
    "alexsearch, tpe, no pruning": lambda table, seed: Ours(table, seed, NoPruningSpec(), TpeSpec()),
}
OTHERS: Mapping[str, Mapping[str, Make]] = {
    "optuna": {"Optuna, TPE + median": PlainOptuna, "random search": random_search, **curve_sceptics.CONTENDERS},
    "keras_tuner": curve_kerastuner.CONTENDERS,
    "ray": curve_raytune.CONTENDERS,
    "syne_tune": curve_synetune.CONTENDERS,
}


def contenders(only: str, without: str) -> dict[str, Make]:
    """Those whose package is installed and whose name contains one of the words in `only` and none in `without`."""
    found = dict(OURS)
    for package, makes in OTHERS.items():
        if importlib.util.find_spec(package):
            found |= makes
        else:
            print(f"{', '.join(makes)}: not installed (pip install -r tests/benchmarks/others.lock)", file=sys.stderr)
    return {name: make for name, make in found.items() if _names(name, only or name) and not _names(name, without)}


def _names(name: str, words: str) -> bool:
    return any(word.strip().lower() in name.lower() for word in words.split("/") if word.strip())


def figures(table: Table, courses: list[Course]) -> dict[str, Any]:
    """What the courses of one tool over all seeds come to."""
    times = [course.seconds_to(table.best - NEAR) for course in courses]
    short = [100 * (table.best - course.best_at(SHORT * table.longest)) for course in courses]
    pruned, tried = map(sum, zip(*(course.pruned_of(table.top_tenth) for course in courses), strict=True))
    quartiles = statistics.quantiles(times, n=4, method="inclusive") if len(times) > 1 else times * 3
    return {
        "reached": sum(map(math.isfinite, times)),
        "seconds": [round(value, 1) if math.isfinite(value) else None for value in quartiles],
        "points_below_best": round(statistics.fmean(short), 2),
        "points_spread": round(statistics.stdev(short), 2) if len(short) > 1 else 0.0,
        "wrongly_pruned": round(pruned / tried, 4) if tried else None,
        "top_tenth_begun": tried,
        "saved": round(statistics.fmean(course.saved for course in courses), 3),
        "trials": round(statistics.fmean(len(course.ended) for course in courses), 1),
    }


def race(table: Table, tools: Mapping[str, Make], seeds: int, workers: int, trials: int) -> dict[str, dict[str, Any]]:
    """Each tool's figures, over `seeds` courses of `trials` of the longest trials for each worker."""
    courses: dict[str, list[Course]] = {name: [] for name in tools}
    took = dict.fromkeys(tools, 0.0)
    for seed in range(seeds):
        for name, make in tools.items():
            began = time.monotonic()
            courses[name].append(play(table, make(table, seed), workers, trials * table.longest))
            took[name] += time.monotonic() - began
        print(f"{table.name}: seed {seed + 1} of {seeds}", end="\r", file=sys.stderr, flush=True)
    return {name: {**figures(table, courses[name]), "real_seconds": round(took[name], 1)} for name in tools}


def lines(table: Table, result: Mapping[str, Mapping[str, Any]], seeds: int, workers: int) -> list[str]:
    """The figures as a table."""
    out = [
        "",
        f"{table.name}: {len(table.runs)} runs, {len(table.qualities)} configurations, the best {table.best:.4f}, the "
        f"best tenth from {table.top_tenth:.4f}; {workers} workers, {seeds} seeds; longest trial {table.longest:.0f} s",
        f"{'':40}{'seconds to the best':>26}{'reached':>9}{'points below':>14}{'wrong':>8}{'saved':>7}{'trials':>8}",
    ]
    for name, row in result.items():
        low, middle, high = ("-" if value is None else f"{value:.0f}" for value in row["seconds"])
        wrong = "-" if row["wrongly_pruned"] is None else f"{row['wrongly_pruned']:.1%}"
        below = f"{row['points_below_best']:.1f} +- {row['points_spread']:.1f}"
        out.append(
            f"{name:40}{f'{middle} ({low} to {high})':>26}{row['reached']:>6}/{seeds:<2}{below:>14}{wrong:>8}"
            f"{row['saved']:>7.0%}{row['trials']:>8.0f}"
        )
    return out


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", choices=TABLES, action="append", help="may be given again; all if left out")
    parser.add_argument("--only", default="", metavar="A/B", help="only tools whose name contains A or B")
    parser.add_argument("--without", default="", metavar="A/B", help="no tool whose name contains A or B")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--trials", type=int, default=6, help="longest trials that each worker has time for")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    tools = contenders(arguments.only, arguments.without)
    results = {}
    for name in arguments.space or TABLES:
        table = load_table(name)
        results[name] = race(table, tools, arguments.seeds, arguments.workers, arguments.trials)
        print("\n".join(lines(table, results[name], arguments.seeds, arguments.workers)), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
