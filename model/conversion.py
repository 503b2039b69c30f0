"""A trained network in the formats of other runtimes, through Keras' own `export`.

    onnx          one .onnx file; the class names are in its metadata, under `class_names`, as JSON
    saved-model   a folder that TensorFlow Serving takes; the class names are in assets.extra/class_names.txt
    litert        one .tflite file of LiteRT's own operations only; the class names are in labels.txt of a zip archive
                  behind the network, where LiteRT's tools keep them, so that `unzip` finds them

All take what the `.keras` file takes, uint8 images (N, height, width, channels), any N, and give float32 probabilities
(N, classes). Nothing is in its place before the written file itself, read back and run by its own runtime, was found to
give the same classes as the network.
"""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import warnings
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from model.config import ExportError
from model.files import folder_written_aside, written_aside
from model.images import IMAGE_SHAPE

Images = npt.NDArray[np.uint8]
Probabilities = npt.NDArray[np.float32]
Runner = Callable[[Images], Probabilities]

TOLERANCE: Final = 1e-4
"""How far a probability may lie off. Other kernels sum in another order: measured 4e-6 on 1,000 test images."""
BATCH: Final = 250


class Format(NamedTuple):
    """A kind of file that a network can be written as."""

    suffix: str
    """What its path must end with; empty is a folder."""
    needs: tuple[str, ...] = ()
    """Packages of the extra `export`."""


FORMATS: Final = {
    "onnx": Format(".onnx", ("onnx", "onnxruntime", "tf2onnx")),
    "saved-model": Format(""),
    "litert": Format(".tflite"),
}


@dataclass(frozen=True)
class Agreement:
    """How well a written file agrees with the network, on images that both have seen."""

    images: int
    classes: int
    """How many classes the network saw in them: of images that are all alike to it, agreement says little."""
    largest_difference: float
    """Of a probability."""


def missing_packages(kind: str) -> tuple[str, ...]:
    """What writing this format needs and is not installed."""
    return tuple(package for package in FORMATS[kind].needs if importlib.util.find_spec(package) is None)


def made_up_images(count: int, shape: tuple[int, int, int] = IMAGE_SHAPE) -> Images:
    """Random pictures (count, *shape) for where there are no real ones: from one colour to pure noise.

    Noise alone is one class to most networks, so that any of them would agree on it.
    """
    random = np.random.Generator(np.random.Philox(0))
    height, width, channels = shape
    sizes = (1, 2, 4, 8, 16, 32)
    parts = []
    for number, size in enumerate(sizes):
        share = count // len(sizes) + (number < count % len(sizes))
        coarse = random.integers(0, 256, (share, size, size, channels), dtype=np.uint8)
        rows, columns = (np.arange(side) * size // side for side in (height, width))
        parts.append(coarse[:, rows][:, :, columns])
    return np.concatenate(parts)


def export(model: Any, class_names: Sequence[str], path: Path, kind: str, images: Images) -> Agreement:
    """Write the network to `path` as one of `FORMATS`, check it on `images`, and only then put it in its place.

    Raises:
        ExportError: the format's own tools failed, or the written file gives other classes.
        OSError: it can't be written. In both cases what was at `path` before is still whole.
    """
    from model.saved import probabilities_of

    expected = probabilities_of(model, images)
    aside = folder_written_aside if kind == "saved-model" else written_aside
    with aside(path) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tf2onnx and LiteRT speak of their own future on standard error
        try:
            _WRITERS[kind](model, tuple(class_names), temporary)
            run = _RUNNERS[kind](temporary)
            got = np.concatenate([run(images[start : start + BATCH]) for start in range(0, len(images), BATCH)])
        except OSError as error:
            raise OSError(error.errno, error.strerror or str(error), str(path)) from error
        except Exception as error:
            # TensorFlow's converters raise nearly every type, and their messages run over pages.
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
            if os.strerror(errno.ENOSPC) in str(error):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
            raise ExportError(f"{path} can't be written as {kind}: {reason}") from error
        return compared(expected, got, str(path))


def compared(expected: Probabilities, got: Probabilities, name: str) -> Agreement:
    """How well two sets of probabilities (N, classes) agree.

    Raises:
        ExportError: a class is another one, or a probability is further off than `TOLERANCE`. Two classes that are
            both the most probable within `TOLERANCE` count as the same.
    """
    if got.shape != expected.shape:
        raise ExportError(f"{name} gives probabilities of shape {got.shape}, but the model {expected.shape}.")
    rows = np.arange(len(expected))
    other = expected.max(axis=1) - expected[rows, got.argmax(axis=1)] > TOLERANCE
    difference = float(np.abs(got - expected).max())
    if other.any() or not difference <= TOLERANCE:  # NaN is no agreement either
        raise ExportError(
            f"{name} is not the same model: another class for {other.sum()} of {len(expected)} images, probabilities "
            f"up to {difference:.2g} off. It was not kept. Please report this with the model."
        )
    return Agreement(len(expected), len(np.unique(expected.argmax(axis=1))), difference)


def _write_onnx(model: Any, class_names: tuple[str, ...], path: Path) -> None:
    import onnx

    model.export(path, format="onnx", verbose=False)
    written = onnx.load(path)
    onnx.helper.set_model_props(written, {"class_names": json.dumps(class_names)})
    onnx.save(written, path)


def _write_saved_model(model: Any, class_names: tuple[str, ...], path: Path) -> None:
    model.export(path, format="tf_saved_model", verbose=False)
    extra = path / "assets.extra"  # where a SavedModel has what its makers add, untouched by TensorFlow
    extra.mkdir()
    (extra / "class_names.txt").write_text("".join(f"{name}\n" for name in class_names), encoding="utf-8")


def _write_litert(model: Any, class_names: tuple[str, ...], path: Path) -> None:
    import tensorflow as tf

    # Keras would allow TensorFlow's operations too, which only a runtime with all of TensorFlow in it can run.
    own = {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}
    model.export(path, format="litert", verbose=False, target_spec=own)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("labels.txt", "".join(f"{name}\n" for name in class_names))


def _run_onnx(path: Path) -> Runner:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(images: Images) -> Probabilities:
        probabilities: Probabilities = session.run(None, {name: images})[0]
        return probabilities

    return run


def _run_saved_model(path: Path) -> Runner:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))

    def run(images: Images) -> Probabilities:
        probabilities: Probabilities = loaded.serve(images).numpy()
        return probabilities

    return run


def _run_litert(path: Path) -> Runner:
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(str(path))
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(images: Images) -> Probabilities:
        interpreter.resize_tensor_input(taken["index"], images.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(taken["index"], images)
        interpreter.invoke()
        probabilities: Probabilities = interpreter.get_tensor(given["index"])
        return probabilities

    return run


_WRITERS: Final = {"onnx": _write_onnx, "saved-model": _write_saved_model, "litert": _write_litert}
_RUNNERS: Final = {"onnx": _run_onnx, "saved-model": _run_saved_model, "litert": _run_litert}
