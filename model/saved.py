"""A trained network as a file that others use: raw uint8 images in, probabilities out.

The AlexNet's images are 32x32x3; a network of one's own says itself what it takes.

It is a plain `.keras` file: `keras.models.load_model(path)` loads it, safe mode on, with none of this package
installed. What its classes are called stands, as JSON, in the comment of the zip archive that such a file is, at which
Keras does not look: `unzip -z net.keras` prints it. A member of its own would have Keras unpack all of the archive at
every load.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import re
import struct
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from model.config import ModelError
from model.files import written_aside
from model.images import IMAGE_SHAPE

if TYPE_CHECKING:
    from model.our_keras import keras

BATCH: Final = 500
"""How many images a network is asked about at once; of images larger than 32x32x3 accordingly fewer."""
_NOT_OWN: Final = ("keras", "builtins")
MOST_BYTES: Final = 2_000_000_000
MOST_DESCRIBED: Final = 10_000_000
MOST_MEMBERS: Final = 1_000
"""What a `.keras` file may claim to hold: of this network 250 MB, in three files"""
MOST_OBJECTS: Final = 2_000
"""Layers, and all else that has a class of its own, in a model's description. Of this network 106."""
DEEPEST: Final = 60
"""How deep it may be nested. Of this network 10."""
LARGEST_OUTPUT: Final = 2**19
"""Numbers that a layer may give for an image. Of this network 25,088; for the images of a batch these are 1 GB."""
SPARE_NUMBERS: Final = 10_000
"""In layers that keep something beside their weights: the states of random streams"""
COMMENT_BYTES: Final = 65_535
"""The longest comment that a zip archive can have."""


def save_model(model: keras.Model, path: Path, class_names: Sequence[str]) -> None:
    """Write a `.keras` file, whole or not at all, with the names of its classes in it.

    Raises:
        OSError: the folder can't be written or the disk is full; a file that was there before is still whole.
    """
    comment = json.dumps({"class_names": list(class_names)}).encode()
    with written_aside(path.with_suffix(".keras")) as temporary:
        model.save(temporary)
        if len(comment) <= COMMENT_BYTES:  # else of some thousand classes: they are numbers then
            with zipfile.ZipFile(temporary, "a") as archive:
                archive.comment = comment


def check_file(path: Path) -> None:
    """Raises ModelError where `path` is no `.keras` file at all: what can be said without starting TensorFlow.

    What its archive claims is looked at before any of it is unpacked.
    """
    if not path.is_file():
        raise ModelError(f"{path}: there is no such file. `alexsearch retrain` makes models.")
    if path.suffix != ".keras" or not zipfile.is_zipfile(path):
        raise ModelError(f"{path} is not a whole .keras file. Is it damaged, cut short, or of another kind?")
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (OSError, ValueError, RuntimeError, OverflowError, struct.error, zipfile.BadZipFile) as error:
        raise ModelError(f"{path} can't be opened as a .keras file ({error}). Is it damaged?") from error
    if any(member.flag_bits & 1 for member in members):
        raise ModelError(f"{path} is encrypted. Save the model again without a password.")
    if any(member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for member in members):
        raise ModelError(f"{path} is packed in a way that is not read here. Save the model again with Keras.")
    claimed = sum(member.file_size for member in members)
    described = sum(member.file_size for member in members if member.filename.endswith(".json"))
    if claimed > MOST_BYTES or described > MOST_DESCRIBED or len(members) > MOST_MEMBERS:
        raise ModelError(
            f"{path} claims to hold {len(members):,} files of {claimed:,} bytes, {described:,} of them its "
            "description: that is not a model of this kind."
        )


def _check_weights(path: Path) -> int:
    """How many numbers the weights are. Raises ModelError where they claim more than is there, or lie elsewhere."""
    import h5py

    numbers = 0
    with zipfile.ZipFile(path) as archive:
        for name in (each for each in archive.namelist() if each.endswith(".h5")):
            content = archive.read(name)
            with h5py.File(io.BytesIO(content), "r") as file:
                found: list[h5py.Dataset] = []
                file.visititems(
                    lambda _, each, kept=found: kept.append(each) if isinstance(each, h5py.Dataset) else None
                )
                if any(each.external or each.is_virtual for each in found):
                    raise ModelError(f"{path}: some of its weights lie in another file, which is not opened.")
                if sum(each.nbytes for each in found) > len(content):
                    raise ModelError(f"{path}: its weights claim more than the file holds. Is it damaged?")
                numbers += sum(each.size for each in found)
    return numbers


def _check_description(path: Path, weights: int, defined: Mapping[str, Any]) -> None:
    """Raises ModelError where the model that `config.json` describes is larger than its `weights`, a count of numbers.

    It is built once without a number in it, so that a layer of 10^6 times 10^6 costs nothing.
    """
    with zipfile.ZipFile(path) as archive:
        text = archive.read("config.json").decode()
    if text.count('"class_name"') > MOST_OBJECTS or _depth(text) > DEEPEST:
        raise ModelError(f"{path} describes far more layers than a model of this kind has.")
    with ThreadPoolExecutor(1) as thread:  # Keras keeps a list of what it has not initialised, for each thread
        numbers, largest = thread.submit(_described_sizes, json.loads(text), defined).result()
    if numbers > weights + SPARE_NUMBERS:
        raise ModelError(f"{path} describes layers of {numbers:,} numbers, but holds {weights:,}. Is it damaged?")
    if largest > LARGEST_OUTPUT:
        raise ModelError(f"{path} has a layer that gives {largest:,} numbers for an image: not a model of this kind.")


def _described_sizes(config: dict[str, Any], defined: Mapping[str, Any]) -> tuple[int, int]:
    """Of a model's description: the numbers in all its variables, and in the largest output of a layer for an image."""
    from model.our_keras import keras

    config.pop("compile_config", None)
    with keras.StatelessScope(initialize_variables=False):
        model = keras.saving.deserialize_keras_object(config, dict(defined), safe_mode=True)
    numbers = sum(math.prod(each.shape) for each in getattr(model, "variables", ()))
    return numbers, max((math.prod(shape) for shape in _outputs(model)), default=0)


def _outputs(layer: Any) -> Iterator[tuple[int, ...]]:
    """The shapes of what a model's layers give, those of models in it too, without the axis of the images."""
    for each in getattr(layer, "operations", None) or getattr(layer, "layers", None) or ():
        with contextlib.suppress(AttributeError, ValueError):  # one that is called nowhere has none
            given = each.output
            for output in given if isinstance(given, (list, tuple)) else (given,):
                yield tuple(size or 1 for size in output.shape[1:])
        yield from _outputs(each)


def _depth(text: str) -> int:
    depth = deepest = 0
    for bracket in re.sub(r'"(?:[^"\\]|\\.)*"', "", text):
        depth += (bracket in "[{") - (bracket in "]}")
        deepest = max(deepest, depth)
    return deepest


def load_model(path: Path, *, classes: int | None = None, defined: Mapping[str, Any] | None = None) -> keras.Model:
    """A network from a `.keras` file: uint8 (N, *image_shape) to probabilities (N, classes).

    Nothing in the file is run: a Lambda layer or any other code in it is refused. `defined` has the layers in it that
    are not Keras' own (`model.own_network.defined_by`).

    Raises:
        ModelError: the file is missing, damaged, unsafe, or another kind of model.
    """
    check_file(path)
    from model.our_keras import keras

    try:
        layers = dict(defined or {})
        _check_description(path, _check_weights(path), layers)
        model = keras.models.load_model(path, layers, compile=False, safe_mode=True)
    except ModelError:
        raise
    except Exception as error:
        # Keras raises nearly every type here, and its messages run over pages.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        if missing := [name for name in _own_parts_in(path) if name not in (defined or {})]:
            raise ModelError(
                f"{path} can't be loaded without the Python file that defines {', '.join(missing)}, which Keras has "
                "not. Name the right one, as in --network mynet.py."
            ) from error
        raise ModelError(f"{path} can't be loaded as a Keras model: {reason}") from error
    check_model(model, classes, str(path))
    return model


def _own_parts_in(path: Path) -> tuple[str, ...]:
    try:
        with zipfile.ZipFile(path) as archive:
            return own_parts(json.loads(archive.read("config.json")))
    except (OSError, ValueError, KeyError, RuntimeError, RecursionError, zipfile.BadZipFile):
        return ()


def own_parts(described: Any) -> tuple[str, ...]:
    """The layers and functions of a network, as Keras describes it in JSON, that are not Keras' own; Lambda among them.

    Without the Python file that defines them nobody can load a file of it.
    """
    return tuple(sorted(set(_own_parts(described))))


def _own_parts(described: Any) -> Iterator[str]:
    if isinstance(described, list):
        for each in described:
            yield from _own_parts(each)
    elif isinstance(described, dict):
        kind, module = described.get("class_name"), described.get("module")
        if kind == "Lambda":
            yield kind
        elif kind == "function":
            yield str(described.get("config"))
        elif isinstance(kind, str) and isinstance(module, str) and module.partition(".")[0] not in _NOT_OWN:
            yield kind
        for each in described.values():
            yield from _own_parts(each)


def read_class_names(path: Path, classes: int) -> tuple[str, ...]:
    """What the classes of a `.keras` file are called; their numbers where it does not say."""
    numbers = tuple(str(number) for number in range(classes))
    try:
        with zipfile.ZipFile(path) as archive:
            names = json.loads(archive.comment)["class_names"]
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        RuntimeError,
        zipfile.BadZipFile,
    ):  # another program's file, or an older one
        return numbers
    if not isinstance(names, list) or not all(isinstance(name, str) and name.isprintable() for name in names):
        return numbers
    return tuple(names) if len(names) == len(set(names)) == classes else numbers


def image_shape_of(model: keras.Model) -> tuple[int, int, int]:
    """Height, width and channels of the images that a checked network takes."""
    height, width, channels = model.input_shape[1:]
    return height, width, channels


def probabilities_of(model: keras.Model, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """What the network makes of images (N, height, width, channels), N >= 1: float32 (N, classes).

    Raises:
        ModelError: they are no finite numbers.
    """
    # Not `predict`: its tf.data pipeline sleeps at the end of every pass, up to as long as the pass took.
    batch = max(1, min(BATCH, BATCH * math.prod(IMAGE_SHAPE) // max(1, images[:1].size)))
    parts = [model.predict_on_batch(images[start : start + batch]) for start in range(0, len(images), batch)]
    probabilities = np.concatenate(parts)
    if not np.isfinite(probabilities).all():
        raise ModelError("The model gives no finite probabilities: it is damaged, or its training diverged.")
    return probabilities


def check_model(model: keras.Model, classes: int | None, name: str, image_shape: tuple[int, ...] | None = None) -> None:
    """Raises ModelError if the network takes no images or others than these, or gives another number of classes."""
    takes, gives = getattr(model, "input_shape", None), getattr(model, "output_shape", None)
    if image_shape is not None and takes != (None, *image_shape):
        expected = ", ".join(map(str, image_shape))
        raise ModelError(f"{name} must take images of shape (N, {expected}), but takes {takes}.")
    if takes != (None, *IMAGE_SHAPE) and not _takes_pictures(model, takes):
        raise ModelError(
            f"{name} must take images of shape (N, 32, 32, 3), or of another as uint8, in colour or grey, but takes "
            f"{takes}."
        )
    if not isinstance(gives, tuple) or len(gives) != 2 or (classes is not None and gives[1] != classes):
        expected = f"(N, {classes})" if classes is not None else "(N, classes)"
        raise ModelError(f"{name} must give probabilities of shape {expected}, but gives {gives}.")


def _takes_pictures(model: keras.Model, takes: Any) -> bool:
    """Whether it takes uint8 of one shape: of another type, nobody knows what its numbers mean."""
    if not isinstance(takes, tuple) or len(takes) != 4 or takes[3] not in (1, 3) or None in takes[1:]:
        return False
    return bool(model.inputs[0].dtype == "uint8")
