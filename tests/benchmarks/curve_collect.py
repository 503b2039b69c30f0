"""Writes the learning curves of a study into the file that curve_replay.py plays.

    alexsearch run tests/benchmarks/curves/seed.toml --data cifar10.npz --workers 2
    python tests/benchmarks/curve_collect.py curves-seed -o tests/benchmarks/curves/seed.csv

Only complete trials count. Seconds are those of an epoch, validation included, on the average of the run.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from search import api

DECIMALS = 4


def write(trials: Sequence[FrozenTrial], searched: Sequence[str], file: Path) -> tuple[int, int]:
    """A line for each complete trial: what was searched, seconds, accuracies. How many, and of how many epochs."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    epochs = max(trial.last_step or 0 for trial in complete)
    with file.open("w", newline="") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow([*searched, "seconds", *range(1, epochs + 1)])
        for trial in complete:
            config, attributes = trial.user_attrs["config"], trial.user_attrs
            accuracies = [round(trial.intermediate_values[epoch], DECIMALS) for epoch in range(1, epochs + 1)]
            seconds = round(attributes["seconds"] / attributes["epochs_run"], 3)
            writer.writerow([*(config[name] for name in searched), seconds, *accuracies])
    return len(complete), epochs


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study")
    parser.add_argument("--home", type=Path, default=api.HOME)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    study = api.open_study(arguments.study, home=arguments.home)
    searched = [name for name, value in study.record.attributes["space"]["space"].items() if isinstance(value, dict)]
    runs, epochs = write(study.trials, searched, arguments.output)
    print(f"{runs} runs of {epochs} epochs in {arguments.output}")


if __name__ == "__main__":
    main()
