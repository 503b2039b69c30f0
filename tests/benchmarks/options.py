"""What does an option cost? Images of training a second, and of the CPU's time, with it over those without it.

    python tests/benchmarks/options.py --data cifar10.npz

All train in one process, epoch by epoch in turn, so that what else the machine does hits all of them. An epoch is all
training images and then a fifth as many to validate on. Figures are medians over the rounds, with the least and the
most; a ratio is of one round. Where other work takes the cores, the CPU's time says more; a GPU's it leaves out.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from model.config import DataSpec, TrainConfig
from model.data import load_training, split
from model.device import configure

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.speed import Spread

BASE: dict[str, Any] = {"optimizer": "nesterov", "momentum": 0.9, "augmentation": "flip_shift", "learning_rate": 0.01}
OPTIONS: dict[str, dict[str, Any]] = {
    "none of them": {},
    "schedule cosine": {"schedule": "cosine"},
    "flip_shift_cutout": {"augmentation": "flip_shift_cutout"},
    "averaging": {"averaging": 0.999},
    "mirrored": {"mirrored": True},
}


Rates = dict[str, list[float]]


def measured(data: str, images: int, batch_size: int, rounds: int) -> tuple[Rates, Rates]:
    """Images a second of each, round by round, and images a second of the CPU's time."""
    device = configure()
    from model.train import Engine

    with tempfile.TemporaryDirectory() as cache:
        spec = DataSpec(source=data, train_images=images, validation_images=images // 5)
        parts = split(load_training(data, Path(cache)), spec)
    engine = Engine(parts.train, parts.validation, device)
    by_clock: Rates = {name: [] for name in OPTIONS}
    by_cpu: Rates = {name: [] for name in OPTIONS}
    for round_ in range(rounds + 1):
        for name, values in OPTIONS.items():
            config = TrainConfig(**{**BASE, "batch_size": batch_size, "epochs": 1, **values})
            begun = time.process_time()
            (metrics,) = engine.train(config, lambda _metrics: True).history
            if round_:  # the first one compiles
                by_clock[name].append(images / metrics.seconds)
                by_cpu[name].append(images / (time.process_time() - begun))
    return by_clock, by_cpu


def ratio(rates: Rates, name: str) -> str:
    """To what the plain one had in the same round."""
    pairs = zip(rates[name], rates["none of them"], strict=True)
    return Spread.of([own / plain for own, plain in pairs]).shown(2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="cifar10", help="as `alexsearch run --data` takes it")
    parser.add_argument("--images", type=int, default=4000, help="training images of an epoch")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    by_clock, by_cpu = measured(asked.data, asked.images, asked.batch_size, asked.rounds)
    print(f"{'':20}{'images/s':24}{'over none':22}over none, of the CPU's time")
    for name, rates in by_clock.items():
        print(f"{name:20}{Spread.of(rates).shown():24}{ratio(by_clock, name):22}{ratio(by_cpu, name)}")


if __name__ == "__main__":
    main()
