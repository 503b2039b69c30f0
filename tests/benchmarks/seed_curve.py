"""Does the network learn as the report's did? Its settings, its data, its habit of validating on the test set.

    .venv/bin/python tests/benchmarks/seed_curve.py --epochs 2 [--data cifar10]

prints accuracy and loss after each epoch next to the report's. On CIFAR-10 they should agree within 0.015 (accuracy)
and 0.03 (loss): a seed moves them by about that much.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from model.config import EpochMetrics, TrainConfig
from model.data import load_test, load_training
from model.device import configure

REPORT_ACCURACY = {1: 0.4199, 2: 0.4785, 3: 0.5204, 4: 0.5502, 5: 0.5830, 6: 0.6030, 8: 0.6249, 10: 0.6613, 16: 0.6906}
REPORT_LOSS = {1: 1.6129, 2: 1.4365, 3: 1.3307, 10: 0.9849, 16: 0.9108}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=0.001)
    parser.add_argument("--precision", choices=["auto", "float32", "bfloat16"], default="auto")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    device = configure()

    from model.train import Engine

    engine = Engine(load_training(asked.data, asked.cache), load_test(asked.data, asked.cache), device)
    config = TrainConfig(
        batch_size=asked.batch_size,
        learning_rate=asked.learning_rate,
        epochs=asked.epochs,
        seed=asked.seed,
        precision=asked.precision,
    )
    print(f"{device.name}, {device.threads} threads, {device.resolve(config.precision)}, batch {config.batch_size}")
    print(
        f"{'epoch':>5} {'accuracy':>9} {'report':>7} {'loss':>7} {'report':>7} {'train':>7} {'seconds':>8} {'img/s':>6}"
    )
    rates: list[float] = []

    def show(metrics: EpochMetrics) -> bool:
        accuracy, loss = REPORT_ACCURACY.get(metrics.epoch), REPORT_LOSS.get(metrics.epoch)
        print(
            f"{metrics.epoch:>5} {metrics.val_accuracy:>9.4f} {accuracy or '':>7} {metrics.val_loss:>7.4f} "
            f"{loss or '':>7} {metrics.loss:>7.4f} {metrics.seconds:>8.1f} {rates[-1]:>6.0f}",
            flush=True,
        )
        return True

    engine.train(config, show, on_progress=lambda progress: rates.append(progress.images_per_second))


if __name__ == "__main__":
    main()
