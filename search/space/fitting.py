"""A space over the images that `--data` names, of which there may be fewer than it asks for."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from model.config import BUNDLED_IMAGES
from search.base.mistakes import InputError
from search.base.toml import as_toml
from search.space.space import OPTIONS, SearchSpace
from studies.words import listed


def over(
    space: SearchSpace,
    source: str | None,
    *,
    train_images: int | None = None,
    validation_images: int | None = None,
    skip_unreadable: bool | None = None,
    fit_batches: bool = False,
) -> SearchSpace:
    """The space over what --data names, with these numbers of images; what is None stays. Raises InputError.

    Of a source that has fewer images than the space asks for, as many as fit: a fifth of them are held out. With
    `fit_batches`, batches are no larger than what is left to train on. `fitted` says what was changed.
    """
    values = space.to_dict()
    asked = {
        "source": source,
        "train_images": train_images,
        "validation_images": validation_images,
        "skip_unreadable": skip_unreadable,
    }
    if space.trains_own:
        if given := [OPTIONS.get(("data", key), "--skip-unreadable") for key in asked if asked[key] is not None]:
            raise InputError(f"{listed(given)}: training of one's own ([train]) reads its own data. Leave it out.")
        return space
    data: dict[str, Any] = values["data"]
    data |= {key: value for key, value in asked.items() if value is not None}
    training, own_validation, classes = (None if source is None else _counts(source)) or (sys.maxsize, False, 0)
    if data.get("train_images", 1) + (0 if own_validation else data["validation_images"]) > training:
        if train_images is None:
            data.pop("train_images", None)
        if validation_images is None and not own_validation:
            data["validation_images"] = max(training // 5, classes)
    if fit_batches:
        left = training - (0 if own_validation else data["validation_images"])
        baselines = values.get("baseline", {})
        _fit_batches(
            values["space"],
            baselines if isinstance(baselines, list) else [baselines],
            max(1, data.get("train_images", left)),
        )
    return space.from_command_line(values)


def _counts(source: str) -> tuple[int, bool, int] | None:
    """See `model.sources.Counts`, no image being opened; None where that can't be told."""
    if source in BUNDLED_IMAGES:
        return BUNDLED_IMAGES[source], False, 10
    from model.data import counted  # NumPy and Pillow, which only a path waits for

    return counted(source)


def _fit_batches(space: dict[str, Any], baselines: list[dict[str, Any]], most: int) -> None:
    """Have no batch of a space, as `to_dict` gives it, exceed `most` images."""
    power = 2 ** (most.bit_length() - 1)
    match space["batch_size"]:
        case {"choices": choices}:
            left = [choice for choice in choices if choice <= most] or [power]
            space["batch_size"] = {"choices": left} if len(left) > 1 else left[0]
            largest_left = max(left)
        case {"low": low, "high": high, **rest} if low < most:
            step = rest.get("step") or 1
            largest_left = min(high, low + (most - low) // step * step)
            space["batch_size"] = {**space["batch_size"], "high": largest_left} if largest_left > low else low
        case {"low": low}:
            space["batch_size"] = largest_left = low if low == most else power
        case fixed:
            space["batch_size"] = largest_left = min(fixed, power)
    for baseline in baselines:
        if baseline.get("batch_size", 0) > largest_left:
            baseline["batch_size"] = largest_left


def fitted(asked: SearchSpace, now: SearchSpace, numbers: Mapping[str, int | None]) -> tuple[str, ...]:
    """A note on what `over` made of a space, beyond the `numbers` of images that it was given; none if nothing."""
    changed = []
    if now.data.train_images is None is not asked.data.train_images and numbers["train_images"] is None:
        changed.append("all that are left are trained on")
    if now.data.validation_images != asked.data.validation_images and numbers["validation_images"] is None:
        changed.append(f"{now.data.validation_images} are held out")
    if now.space != asked.space:
        changed.append(f"batch_size is {as_toml(now.to_dict()['space']['batch_size'])}")
    if now.baseline != asked.baseline and now.baseline is not None:
        smaller = [str(each.given()["batch_size"]) for each in now.baseline if "batch_size" in each.given()]
        changed.append(f"the baseline's is {listed(smaller)}")
    if not changed:
        return ()
    return (f"{now.data.source} has fewer images than the space asks for: {', '.join(changed)}",)
