"""How good a saved network is, over all and by class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import confusion_matrix

from model.images import ImageSet
from model.our_keras import keras
from model.saved import check_model, probabilities_of

SMALLEST = 1e-7  # Keras clips probabilities here before it takes their logarithm


@dataclass(frozen=True)
class Evaluation:
    """What a network makes of a set of images."""

    count: int
    """Images seen."""
    accuracy: float
    loss: float
    """Mean sparse categorical cross-entropy, natural logarithm."""
    class_names: tuple[str, ...]
    class_accuracy: tuple[float | None, ...]
    """By class, the part of its images that was recognised (its recall); None for a class without images."""
    confusion: tuple[tuple[int, ...], ...]
    """Row: true class; column: predicted class."""


def evaluate(model: keras.Model, images: ImageSet) -> Evaluation:
    """Classify all images, in float32.

    Raises:
        ModelError: the model takes images of another size or knows another number of classes.
    """
    classes = len(images.class_names)
    check_model(model, classes, "The model", images.images.shape[1:])
    probabilities = probabilities_of(model, images.images)
    predicted = probabilities.argmax(axis=1)
    chosen = probabilities[np.arange(len(images)), images.labels].astype(np.float64)
    confusion = confusion_matrix(images.labels, predicted, labels=range(classes))
    totals = confusion.sum(axis=1)
    return Evaluation(
        count=len(images),
        accuracy=float((predicted == images.labels).mean()),
        loss=float(-np.log(np.maximum(chosen, SMALLEST)).mean()),
        class_names=images.class_names,
        class_accuracy=tuple(
            float(hits / total) if total else None for hits, total in zip(confusion.diagonal(), totals, strict=True)
        ),
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
    )
