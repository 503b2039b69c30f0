"""What the tables of a space file must agree on: step_* with schedule, batches with images, a baseline with its space,
and so on.

Parameters that could not be read are left out of `parameters` by the caller, so that one mistake in a file hides no
other; one that the file doesn't have is None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from model.config import HYPERPARAMETERS, DataSpec
from search.base.mistakes import closest
from search.base.toml import as_toml
from search.space.constraints import ConstraintsSpec, mistaken
from search.space.parameters import (
    DEFAULTS,
    DEPENDENT,
    LARGEST_GRID,
    NEEDED,
    Choices,
    Parameter,
    Parameters,
    Range,
    Value,
    combinations,
    contains,
    described,
    largest,
    smallest,
)
from search.space.pruners import HyperbandSpec, PrunerSpec, ReachSpec, SuccessiveHalvingSpec
from search.space.samplers import GridSpec, SamplerSpec

ALWAYS = ("batch_size", "learning_rate", "epochs")
"""Hyperparameters that every trial has."""


def disagreements(
    parameters: Parameters,
    data: DataSpec | None,
    pruner: PrunerSpec | None,
    sampler: SamplerSpec | None,
    baselines: Sequence[Mapping[str, Value]],
    constraints: ConstraintsSpec | None,
) -> list[str]:
    """What is wrong between the tables, a sentence each, with its place in square brackets in front."""
    if parameters.circle:
        return [f"[space]: {', '.join(parameters.circle)} depend on each other in a circle, by when. Break it."]
    places = [
        (f"baseline, item {n}" if len(baselines) > 1 else "baseline", each) for n, each in enumerate(baselines, 1)
    ]
    lines = [
        *_dependents_alone(parameters),
        *_conditions_never_met(parameters),
        *_warm_up_without_end(parameters),
        *_batches_without_images(parameters, data),
        *_rungs_without_epochs(parameters, pruner),
        *_margin_beyond_accuracies(parameters, pruner),
        *_grid_without_end(parameters, sampler),
        *(line for place, baseline in places for line in _baseline_elsewhere(parameters, baseline, place)),
        *_baseline_twice(parameters, places),
    ]
    if lines or constraints is None:  # what is asked of whole configurations waits until there are some
        return lines
    whole = {f"[{place}]": completed(baseline, parameters) for place, baseline in places}
    return mistaken(constraints, parameters, sampler, whole)


def completed(baseline: Mapping[str, Value], parameters: Parameters) -> dict[str, Value]:
    """The baseline with the values that the space fixes, in the order in which a trial is asked for them."""
    values: dict[str, Value] = {}
    for name, fixed in parameters.items():
        if not parameters.exists(name, values):
            continue
        if name in baseline:
            values[name] = baseline[name]
        elif fixed is not None and not isinstance(fixed, (Choices, Range)):
            values[name] = fixed
    return values


def _conditions_never_met(parameters: Parameters) -> list[str]:
    """What is wrong with `when`."""
    lines = []
    for name, condition in parameters.conditions.items():
        if name in parameters.ours and name in ALWAYS:
            lines.append(f"[space.{name}]: every trial has it, so when does not go with it. Leave when out.")
            continue
        for parent, allowed in condition.items():
            if DEPENDENT.get(name, ("",))[0] == parent and name in parameters.ours and allowed:
                continue  # told by the field's own rule
            if parent not in parameters:
                if parent not in parameters.ours | parameters.unread:
                    known = closest(parent, [other for other in parameters if other != name])
                    lines.append(f"[space.{name}]: when names {parent}, which is not in [space].{known}")
                continue
            above = _of_parent(parent, parameters)
            if above is not None and not any(contains(above, value) for value in allowed):
                shown = as_toml(list(allowed))
                lines.append(
                    f"[space.{name}]: when asks for {parent} in {shown}, but {parent} is {described(above)}: it would "
                    "never exist. Take other values, or leave it out."
                )
    return lines


def _dependents_alone(parameters: Parameters) -> list[str]:
    lines = []
    if "optimizer" not in parameters.ours:
        return []
    for (parent, value), names in NEEDED.items():
        if (above := _of_parent(parent, parameters)) is None or not contains(above, value):
            continue
        lines += [
            f'[space]: {name} is missing, but {parent} can be "{value}". Add it, e.g. {name} = '
            f"{as_toml(HYPERPARAMETERS[name].example)}."
            for name in names
            if name in parameters
            and (parameters[name] is None or value not in parameters.conditions.get(name, {}).get(parent, (value,)))
        ]
    for name, (parent, allowed) in DEPENDENT.items():
        above = _of_parent(parent, parameters)
        if above is None or parameters.get(name) is None or any(contains(above, value) for value in allowed):
            continue
        usual = DEFAULTS[parent]
        way_in = as_toml(usual if usual in allowed else {"choices": (usual, allowed[-1])})
        lines.append(
            f"[space.{name}]: belongs to {_one_of(parent, allowed)}, which this space never takes. Remove it, or "
            f"search {parent} = {way_in}."
        )
    return lines


def _of_parent(parent: str, parameters: Parameters) -> Parameter | None:
    """The parameter that others depend on; None if it could not be read."""
    if parent not in parameters:
        return None
    return DEFAULTS.get(parent) if parameters[parent] is None else parameters[parent]


def _one_of(parent: str, allowed: Sequence[Value]) -> str:
    """`optimizer = "sgd" or "nesterov"`"""
    words = [as_toml(value) for value in allowed]
    return f"{parent} = {', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else f"{parent} = {words[0]}"


def _warm_up_without_end(parameters: Parameters) -> list[str]:
    warm_up, epochs = parameters.get("warmup_epochs"), parameters.get("epochs")
    if (
        "warmup_epochs" not in parameters.ours
        or warm_up is None
        or epochs is None
        or largest(warm_up) < smallest(epochs)
    ):
        return []
    return [
        f"[space.warmup_epochs]: the largest value must be < the smallest epochs, which is {smallest(epochs)}, but is "
        f"{largest(warm_up)}: nothing would be trained at the whole learning rate. Lower it, or raise epochs."
    ]


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


def _margin_beyond_accuracies(parameters: Parameters, pruner: PrunerSpec | None) -> list[str]:
    margin = pruner.margin if isinstance(pruner, ReachSpec) else None
    if not parameters.ours or margin is None or margin <= 1:
        return []
    return [
        f"[pruner]: margin must be <= 1, but is {as_toml(margin)}: it is a difference of accuracies, which go "
        "from 0 to 1. Five points of a hundred are 0.05."
    ]


def _grid_without_end(parameters: Parameters, sampler: SamplerSpec | None) -> list[str]:
    if not isinstance(sampler, GridSpec):
        return []
    try:
        combinations(parameters, sampler.points)
    except OverflowError:
        return [
            f"[sampler]: the grid has more than {LARGEST_GRID:,} combinations. Search fewer parameters, give ranges a "
            "larger step, or lower points."
        ]
    return []


def _baseline_twice(parameters: Parameters, places: Sequence[tuple[str, Mapping[str, Value]]]) -> list[str]:
    whole = [completed(baseline, parameters) for _, baseline in places]
    return [
        f"[{place}]: is the same as item {whole.index(values) + 1}. Leave one of them out."
        for index, ((place, _), values) in enumerate(zip(places, whole, strict=True))
        if whole.index(values) < index
    ]


def _baseline_elsewhere(parameters: Parameters, baseline: Mapping[str, Value], place: str) -> list[str]:
    lines = [
        f"[{place}.{name}]: is not in [space].{closest(name, list(parameters))}"
        for name in baseline
        if name not in parameters and name not in parameters.ours
    ]
    for name, parameter in parameters.items():
        value = baseline.get(name)
        absent = False
        for parent, allowed in parameters.conditions.get(name, {}).items():
            above = baseline.get(parent, _of_parent(parent, parameters))
            if above not in allowed:
                absent = True
                if value is not None and above is not None and not isinstance(above, (Choices, Range)):
                    lines.append(
                        f"[{place}.{name}]: belongs to {_one_of(parent, allowed)}, but the baseline's is "
                        f"{as_toml(above)}. Leave it out."
                    )
        if absent:
            continue
        inside = (DEFAULTS.get(name) if name in parameters.ours else None) if parameter is None else parameter
        if inside is None:
            continue  # [space] lacks it, and is told so there
        if value is not None and not contains(inside, value):
            lines.append(f"[{place}.{name}]: {_way_in(name, inside, value)}")
        elif value is None and isinstance(inside, (Choices, Range)):
            example = inside.choices[0] if isinstance(inside, Choices) else inside.low
            lines.append(f"[{place}]: {name} is missing, but is searched. Add it, e.g. {name} = {as_toml(example)}.")
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
