"""How good a saved network is, over all and by class."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from sklearn.metrics import confusion_matrix

from model.images import IMAGE_SHAPE, ImageSet

BATCH = 500
SMALLEST = 1e-7  # Keras clips probabilities here before it takes their logarithm


class ModelError(Exception):
    """A model file can't be used. The message says what, where, why and the way out."""


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
        ModelError: the model takes other images or knows another number of classes.
    """
    classes = len(images.class_names)
    _check(model, classes, "The model")
    # Not `predict`: its tf.data pipeline sleeps at the end of every pass, up to as long as the pass took.
    parts = [images.images[start : start + BATCH] for start in range(0, len(images), BATCH)]
    probabilities = np.concatenate([model.predict_on_batch(part) for part in parts])
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


def load_model(path: Path, *, classes: int | None = None) -> keras.Model:
    """A network from a `.keras` file: uint8 (N, 32, 32, 3) to probabilities (N, classes).

    Nothing in the file is run: a Lambda layer or any other code in it is refused.

    Raises:
        ModelError: the file is missing, damaged, unsafe, or another kind of model.
    """
    if not path.is_file():
        raise ModelError(f"There is no model file {path}.")
    if path.suffix != ".keras" or not zipfile.is_zipfile(path):
        raise ModelError(f"{path} is not a whole .keras file. Is it damaged, cut short, or of another kind?")
    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        # Keras raises nearly every type here, and its messages run over pages.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise ModelError(f"{path} can't be loaded as a Keras model: {reason}") from error
    _check(model, classes, str(path))
    return model


def _check(model: keras.Model, classes: int | None, name: str) -> None:
    takes, gives = getattr(model, "input_shape", None), getattr(model, "output_shape", None)
    if takes != (None, *IMAGE_SHAPE):
        raise ModelError(f"{name} must take images of shape (N, 32, 32, 3), but takes {takes}.")
    if not isinstance(gives, tuple) or len(gives) != 2 or (classes is not None and gives[1] != classes):
        expected = f"(N, {classes})" if classes is not None else "(N, classes)"
        raise ModelError(f"{name} must give probabilities of shape {expected}, but gives {gives}.")
