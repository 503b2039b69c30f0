"""What the tables of a space file must agree on: step_* with schedule, batches with images, a baseline with its space.

Parameters that could not be read are left out of `parameters` by the caller, so that one mistake in a file hides no
other; one that the file doesn't have is None.
"""

from __future__ import annotations

from collections.abc import Mapping

from model.config import DataSpec
from search.parameters import NAMES, STEP_ONLY, Choices, Parameter, Range, Value, contains, described, largest
from search.pruning import HyperbandSpec, PrunerSpec, SuccessiveHalvingSpec
from search.toml import as_toml

Parameters = Mapping[str, Parameter | None]


def disagreements(
    parameters: Parameters, data: DataSpec | None, pruner: PrunerSpec | None, baseline: Mapping[str, Value] | None
) -> list[str]:
    """What is wrong between the tables, a sentence each, with its place in square brackets in front."""
    return [
        *_steps_without_schedule(parameters),
        *_batches_without_images(parameters, data),
        *_rungs_without_epochs(parameters, pruner),
        *([] if baseline is None else _baseline_elsewhere(parameters, baseline)),
    ]


def completed(baseline: Mapping[str, Value], parameters: Parameters) -> dict[str, Value]:
    """The baseline with the values that the space fixes, in the order of `NAMES`."""
    values: dict[str, Value] = {}
    for name in NAMES:
        fixed = parameters.get(name)
        if name in STEP_ONLY and values["schedule"] != "step":
            continue
        if name in baseline:
            values[name] = baseline[name]
        elif fixed is not None and not isinstance(fixed, (Choices, Range)):
            values[name] = fixed
    return values


def _steps_without_schedule(parameters: Parameters) -> list[str]:
    schedule = parameters.get("schedule")
    if schedule is None:
        return []
    can_step = contains(schedule, "step")
    examples = {"step_epochs": "[10, 20]", "step_factor": "0.1"}
    lines = []
    for name in STEP_ONLY:
        if name not in parameters:
            continue
        if can_step and parameters[name] is None:
            lines.append(
                f'[space]: {name} is missing, but schedule can be "step". Add it, e.g. {name} = {examples[name]}.'
            )
        elif not can_step and parameters[name] is not None:
            lines.append(
                f'[space.{name}]: belongs to schedule = "step", which this space never takes. Remove it, or search '
                'schedule = { choices = ["constant", "step"] }.'
            )
    return lines


def _batches_without_images(parameters: Parameters, data: DataSpec | None) -> list[str]:
    batch_size = parameters.get("batch_size")
    if batch_size is None or data is None or data.train_images is None or largest(batch_size) <= data.train_images:
        return []
    return [
        f"[space.batch_size]: the largest value must be <= train_images of [data], which is {data.train_images}, "
        f"but is {largest(batch_size)}: no full batch would be left. Lower it, or raise train_images."
    ]


def _rungs_without_epochs(parameters: Parameters, pruner: PrunerSpec | None) -> list[str]:
    epochs = parameters.get("epochs")
    if epochs is None or not isinstance(pruner, (HyperbandSpec, SuccessiveHalvingSpec)):
        return []
    if pruner.min_resource <= largest(epochs):
        return []
    return [
        f"[pruner]: min_resource must be <= the largest epochs of [space], which is {largest(epochs)}, but is "
        f"{pruner.min_resource}. Lower it, or raise epochs."
    ]


def _baseline_elsewhere(parameters: Parameters, baseline: Mapping[str, Value]) -> list[str]:
    schedule = baseline.get("schedule", parameters.get("schedule"))
    lines = []
    for name, parameter in parameters.items():
        value = baseline.get(name)
        if name in STEP_ONLY and schedule != "step":
            if value is not None and schedule == "constant":
                lines.append(
                    f'[baseline.{name}]: belongs to schedule = "step", but the baseline\'s is "constant". Leave it out.'
                )
        elif parameter is None:
            continue  # [space] lacks it, and is told so there
        elif value is not None and not contains(parameter, value):
            lines.append(f"[baseline.{name}]: {_way_in(name, parameter, value)}")
        elif value is None and isinstance(parameter, (Choices, Range)):
            example = parameter.choices[0] if isinstance(parameter, Choices) else parameter.low
            lines.append(f"[baseline]: {name} is missing, but is searched. Add it, e.g. {name} = {as_toml(example)}.")
    return lines


def _way_in(name: str, parameter: Parameter, value: Value) -> str:
    """How a baseline's value comes into the space, or the space to it."""
    text, inside = as_toml(value), described(parameter)
    if isinstance(parameter, Choices):
        wider = as_toml({"choices": (*parameter.choices, value)})
        return f"must be a choice of [space], but is {text}. Add it there, as in {name} = {wider}, or take one of them."
    if isinstance(parameter, Range):
        return f"must be inside {inside} of [space], but is {text}. Widen the range, or take a value inside it."
    return (
        f"must be what [space] fixes, {inside}, but is {text}. Leave it out, or search both, as in {name} = "
        f"{as_toml({'choices': (parameter, value)})}."
    )
