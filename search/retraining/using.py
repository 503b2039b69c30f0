"""A trained model put to use: measured on test images, asked about pictures, brought into other formats.

All that can be wrong with a file is told before TensorFlow is started, which takes seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.base.home import Home
from search.base.mistakes import InputError
from search.base.overwriting import check_file
from search.base.terminal import quiet_tensorflow

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

CHECKED_IMAGES = 1000
"""On how many a converted model is compared with the original."""


Starting = Callable[[Home], object]
"""Starts TensorFlow in this process."""


def start_tensorflow(home: Home) -> None:
    """Start TensorFlow in this process, once; what its C++ prints goes to the home's log."""
    quiet_tensorflow(home.tensorflow_log)
    from model.device import configure

    configure()


def evaluate_model(
    path: Path,
    source: str,
    home: Home,
    start: Starting = start_tensorflow,
    *,
    skip_unreadable: bool = False,
    network: Path | None = None,
) -> dict[str, Any]:
    """Measure a `.keras` file on the test images of `source`; `alexsearch evaluate --help` documents the keys.

    `skip_unreadable` passes over pictures that can't be decoded; `network` is the Python file that defines the layers
    in it that are not Keras' own, here and below.

    Raises:
        InputError: its classes are called otherwise than those of the data.
        ModelError: the file is missing, damaged or unsafe, or does not fit the data.
        DataError: the data can't be used.
    """
    model, names = _load(path, home, start, network)
    from model.data import load_test
    from model.evaluate import evaluate
    from model.saved import image_shape_of

    images = load_test(source, home.data, skip_unreadable, shape=image_shape_of(model))
    evaluation = evaluate(model, images)
    if _has_names(names) and _has_names(images.class_names) and names != images.class_names:
        raise InputError(
            f"{path} knows the classes {_listed(names)}, but {source} has {_listed(images.class_names)}. "
            "Name the data that it was trained on with --data."
        )
    return {
        "model": str(path),
        "data": source,
        "images": evaluation.count,
        "accuracy": evaluation.accuracy,
        "loss": evaluation.loss,
        "classes": dict(zip(evaluation.class_names, evaluation.class_accuracy, strict=True)),
        "confusion": evaluation.confusion,
        "notes": list(images.notes),
    }


def predict_images(
    path: Path,
    pictures: Sequence[Path],
    home: Home,
    start: Starting = start_tensorflow,
    *,
    network: Path | None = None,
) -> dict[str, Any]:
    """What a `.keras` file sees in pictures; `alexsearch predict --help` documents the keys.

    Raises:
        InputError: pictures are none; all of them are named.
        ModelError: the file is missing, damaged, unsafe or another kind of model.
    """
    from model.images import IMAGE_SHAPE
    from model.saved import check_file, image_shape_of, probabilities_of

    check_file(path)
    images = _read_all(pictures, IMAGE_SHAPE)  # before TensorFlow starts: what can't be read is told at once
    model, names = _load(path, home, start, network)
    if (taken := image_shape_of(model)) != IMAGE_SHAPE:
        images = _read_all(pictures, taken)
    probabilities = probabilities_of(model, images).astype(float)
    seen = []
    for picture, row in zip(pictures, probabilities, strict=True):
        order = row.argsort(kind="stable")[::-1]
        classes = {names[index]: float(row[index]) for index in order}
        best = next(iter(classes))
        seen.append({"image": str(picture), "class": best, "probability": classes[best], "classes": classes})
    return {"model": str(path), "images": seen}


def convert_model(
    path: Path,
    kind: str,
    output: Path | None,
    source: str | None,
    home: Home,
    start: Starting = start_tensorflow,
    *,
    force: bool = False,
    network: Path | None = None,
) -> dict[str, Any]:
    """Write a `.keras` file in another format, checked; `alexsearch convert --help` documents the keys.

    Raises:
        InputError: `output` can't be such a file, is there already (not with `force`), or packages are missing.
        ModelError: the file is missing, damaged, unsafe or another kind of model.
        DataError: the data can't be used.
        ExportError: the format's tools failed, or what they wrote is another model. Nothing is left behind.
    """
    from model.conversion import FORMATS, export, made_up_images, missing_packages
    from model.saved import check_file as check_model_file
    from model.saved import image_shape_of

    check_model_file(path)
    suffix = FORMATS[kind].suffix
    target = output or path.with_name(path.stem + (suffix or "-saved-model"))
    check_file(target, force=force or not suffix, is_ours=lambda _: False)  # nothing in it would tell
    if target.is_dir() and (suffix or any(target.iterdir())):
        way_out = "Name a file in it." if suffix else "Name another folder, or remove this one."
        raise InputError(f"-o {target}: is a folder{'' if suffix else ' that holds something'}. {way_out}")
    if suffix and target.suffix != suffix:
        raise InputError(f"-o {target}: must end in {suffix} for --to {kind}, e.g. {target.with_suffix(suffix)}.")
    if not suffix and target.exists() and not target.is_dir():
        raise InputError(f"-o {target}: is a file, but --to {kind} makes a folder. Name another one.")
    if missing := missing_packages(kind):
        raise InputError(
            f"--to {kind} needs {', '.join(missing)}, not installed here. Install requirements.lock, or alexsearch "
            "with its extra: pip install 'alexsearch[export]'."
        )
    model, names = _load(path, home, start, network)
    shape = image_shape_of(model)
    if source:
        from model.data import load_test

        every = load_test(source, home.data, shape=shape).images
        images = every[:: max(1, len(every) // CHECKED_IMAGES)][:CHECKED_IMAGES]  # spread: they may lie by class
    else:
        images = made_up_images(CHECKED_IMAGES, shape)
    agreement = export(model, names, target, kind, images)
    return {
        "model": str(path),
        "format": kind,
        "output": str(target),
        "bytes": sum(file.stat().st_size for file in [target, *target.rglob("*")] if file.is_file()),
        "checked_on": source or "made-up images",
        "images": agreement.images,
        "classes_seen": agreement.classes,
        "largest_difference": agreement.largest_difference,
    }


def _load(path: Path, home: Home, start: Starting, network: Path | None) -> tuple[Any, tuple[str, ...]]:
    """The network and the names of its classes; TensorFlow is started."""
    from model.saved import check_file, load_model, read_class_names

    check_file(path)
    start(home)
    defined = None
    if network is not None:
        from model.own_network import defined_by

        defined = defined_by(network)
    model = load_model(path, defined=defined)
    return model, read_class_names(path, model.output_shape[1])


def _read_all(pictures: Sequence[Path], shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    import numpy as np

    from model.config import DataError
    from model.images import read_image

    images, mistakes = [], []
    for picture in pictures:
        try:
            images.append(read_image(picture, shape))
        except DataError as error:
            mistakes.append(str(error))
    if mistakes:
        raise InputError(mistakes)
    return np.stack(images)


def _has_names(names: Sequence[str]) -> bool:
    """Whether the classes are called anything but 0, 1, 2 ..."""
    return list(names) != [str(number) for number in range(len(names))]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
