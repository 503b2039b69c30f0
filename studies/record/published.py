"""The numbers of the paper that this project sets out from, which users know as "the report": what there is to beat."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from studies.record.metric import trains

# "Application of the AlexNet convolutional neural network to CIFAR-10", University of Kragujevac, 2022 (in Serbian),
# sections 5 to 8: batch size 32, learning rate 0.001, 50 epochs, the test set as validation set. Epochs whose line its
# listing lost are missing; of the losses it prints these six.
PAPER_ACCURACY: Mapping[int, float] = MappingProxyType(
    {
        1: 0.4199, 2: 0.4785, 3: 0.5204, 4: 0.5502, 5: 0.5830, 6: 0.6030, 8: 0.6249, 9: 0.6499, 10: 0.6613,
        11: 0.6630, 12: 0.6769, 13: 0.6728, 14: 0.6804, 15: 0.6843, 16: 0.6906, 17: 0.6944, 18: 0.6954, 19: 0.6923,
        20: 0.6944, 21: 0.6957, 22: 0.6948, 23: 0.7071, 24: 0.6948, 25: 0.6967, 26: 0.6906, 27: 0.7048, 28: 0.6936,
        29: 0.6920, 30: 0.6973, 31: 0.6989, 32: 0.6957, 33: 0.7030, 34: 0.6978, 35: 0.6998, 36: 0.7034, 37: 0.7020,
        38: 0.6938, 39: 0.6991, 40: 0.6997, 41: 0.6959, 43: 0.6961, 44: 0.7013, 46: 0.7081, 47: 0.7003, 48: 0.7073,
        49: 0.6991, 50: 0.7028,
    }
)  # fmt: skip
PAPER_LOSS: Mapping[int, float] = MappingProxyType(
    {1: 1.6129, 2: 1.4365, 3: 1.3307, 10: 0.9849, 16: 0.9108, 50: 1.6034}
)
PAPER_CURVE: Mapping[str, Mapping[int, float]] = MappingProxyType(
    {"val_accuracy": PAPER_ACCURACY, "val_loss": PAPER_LOSS}
)
"""What the paper published: validation accuracy (share of images, 0 to 1) and loss (nats), by epoch from 1."""
PAPER_SCORE = 0.7081
"""The paper's final accuracy: its best epoch on the test set, which it had also validated on."""
PAPER_NAME = "report, 2022"
"""What a legend calls it."""
PAPER_LEVEL = f"{PAPER_NAME}: {PAPER_SCORE:.2%}"

CIFAR10_SHAPE = (50_000, 10)
"""Training images and classes of CIFAR-10: whatever file it comes from, only it is compared with the paper."""


def paper_points(metric: str, last: float, *, least: int = 2) -> list[tuple[float, float]]:
    """Epoch and value of the paper's curve of "val_accuracy" or "val_loss", up to epoch `last`, or `least` if more."""
    return [(float(epoch), value) for epoch, value in PAPER_CURVE[metric].items() if epoch <= max(last, least)]


def is_cifar10(data: Mapping[str, Any]) -> bool:
    """Whether a study's stored data is CIFAR-10, or a part of it: the paper's numbers say nothing about others."""
    return (data.get("source_images"), len(data.get("classes", ()))) == CIFAR10_SHAPE


def is_of_paper(attributes: Mapping[str, Any]) -> bool:
    """Whether the paper's score may be named to a study with these attributes: its AlexNet, on its images."""
    return trains(attributes).kind == "alexnet" and is_cifar10(attributes.get("data", {}))


def stands_beside(attributes: Mapping[str, Any]) -> bool:
    """Whether the paper's curve may be drawn beside a study's: one with at least half of CIFAR-10's training images.

    The paper trained on all of them. Beside a few thousand, its curve says nothing about the hyperparameters.
    """
    return is_of_paper(attributes) and 2 * attributes["data"].get("train_images", 0) >= CIFAR10_SHAPE[0]
