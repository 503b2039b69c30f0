"""How far apart do trainings end up that differ in nothing but rounding? `replay.py` has its tolerance from it.

    .venv/bin/python tests/benchmarks/replay_tolerance.py --data cifar10.npz

trains the same configurations in processes that compute the same sums in another order: with another number of
threads, with the instructions of an older CPU. Prints, epoch by epoch, the largest distance between any two, and
whether two processes that differ in nothing give the same bits.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from model.config import DataSpec, EpochMetrics, TrainConfig

METRICS = ("loss", "accuracy", "val_loss", "val_accuracy")
CONFIGS = ((32, 0.001), (32, 0.01), (64, 0.1))
"""Batch size and learning rate: the report's, a middling one, one that is nearly too high."""
VARIANTS: dict[str, tuple[int, dict[str, str]]] = {
    "2 threads": (2, {}),
    "2 threads again": (2, {}),
    "1 thread": (1, {}),
    "AVX2": (2, {"ONEDNN_MAX_CPU_ISA": "AVX2"}),
}
Histories = list[list[EpochMetrics]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--train-images", type=int, default=2000)
    parser.add_argument("--validation-images", type=int, default=1000)
    parser.add_argument("--precision", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--child", nargs=2, metavar=("THREADS", "PRECISION"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        print(json.dumps(train(asked, int(asked.child[0]), asked.child[1])))
        return
    for precision in asked.precision:
        found = {}
        for name, (threads, environment) in VARIANTS.items():
            if precision == "bfloat16" and environment:  # which an older CPU has to emulate: it takes for ever
                continue
            command = [sys.executable, __file__, *sys.argv[1:], "--child", str(threads), precision]
            done = subprocess.run(
                command, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
            )
            found[name] = [
                [EpochMetrics.model_validate(epoch) for epoch in history] for history in json.loads(done.stdout)
            ]
            print(f"{precision}, {name}: done", file=sys.stderr, flush=True)
        compare(precision, found)


def train(asked: argparse.Namespace, threads: int, precision: str) -> list[list[dict[str, Any]]]:
    """The histories of all configurations, in this process."""
    from model.data import load_training, split
    from model.device import configure

    spec = DataSpec(source=asked.data, train_images=asked.train_images, validation_images=asked.validation_images)
    parts = split(load_training(spec.source, Path("runs/data")), spec)
    device = configure(threads=threads)
    from model.train import Engine

    engine = Engine(parts.train, parts.validation, device)
    histories = []
    for batch_size, rate in CONFIGS:
        config = TrainConfig.model_validate(
            {"batch_size": batch_size, "learning_rate": rate, "epochs": asked.epochs, "precision": precision}
        )
        result = engine.train(config, lambda _metrics: True)
        histories.append([metrics.model_dump() for metrics in result.history])
    return histories


def compare(precision: str, found: dict[str, Histories]) -> None:
    """Print how far the variants lie apart, by configuration and epoch."""
    again = [[metrics(epoch) for epoch in history] for history in found.pop("2 threads again")]
    same = again == [[metrics(epoch) for epoch in history] for history in found["2 threads"]]
    print(f"\n{precision}: two processes that differ in nothing are {'' if same else 'NOT '}equal, bit for bit")
    print(f"{'batch':>5} {'rate':>6} {'epoch':>5} " + " ".join(f"{name:>12}" for name in METRICS) + "  apart in")
    for number, (batch_size, rate) in enumerate(CONFIGS):
        histories = {name: histories[number] for name, histories in found.items()}
        for epochs in zip(*histories.values(), strict=True):
            by_name = dict(zip(histories, epochs, strict=True))
            largest = {
                metric: max(abs(getattr(a, metric) - getattr(b, metric)) for a, b in itertools.combinations(epochs, 2))
                for metric in METRICS
            }
            different = [name for name, epoch in by_name.items() if metrics(epoch) != metrics(by_name["2 threads"])]
            shown = " ".join(f"{largest[metric]:12.6f}" for metric in METRICS)
            print(f"{batch_size:5} {rate:6} {epochs[0].epoch:5} {shown}  {', '.join(different) or '-'}", flush=True)


def metrics(epoch: EpochMetrics) -> tuple[float, ...]:
    return tuple(getattr(epoch, name) for name in METRICS)


if __name__ == "__main__":
    main()
