"""What does an option cost? Images of training a second with it, over those without it.

    python tests/benchmarks/options.py --data cifar10.npz

All train in one process, epoch by epoch in turn, so that what else the machine does hits all of them. An epoch is all
training images and then a fifth as many to validate on. Figures are medians over the rounds, with the least and the
most; a ratio is of one round.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
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


def measured(data: str, images: int, batch_size: int, rounds: int) -> dict[str, list[float]]:
    """Images a second of each, round by round."""
    device = configure()
    from model.train import Engine

    with tempfile.TemporaryDirectory() as cache:
        spec = DataSpec(source=data, train_images=images, validation_images=images // 5)
        parts = split(load_training(data, Path(cache)), spec)
    engine = Engine(parts.train, parts.validation, device)
    found: dict[str, list[float]] = {name: [] for name in OPTIONS}
    for round_ in range(rounds + 1):
        for name, values in OPTIONS.items():
            config = TrainConfig(**{**BASE, "batch_size": batch_size, "epochs": 1, **values})
            (metrics,) = engine.train(config, lambda _metrics: True).history
            if round_:  # the first one compiles
                found[name].append(images / metrics.seconds)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="cifar10", help="as `alexsearch run --data` takes it")
    parser.add_argument("--images", type=int, default=4000, help="training images of an epoch")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    found = measured(asked.data, asked.images, asked.batch_size, asked.rounds)
    plain = found["none of them"]
    for name, rates in found.items():
        ratio = Spread.of([rate / own for rate, own in zip(rates, plain, strict=True)])
        print(f"{name:20}{Spread.of(rates).shown():24}{ratio.shown(2)}", flush=True)


if __name__ == "__main__":
    main()
