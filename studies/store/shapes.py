"""How what alexsearch keeps in attributes must look: others write to the same database, by hand or by mistake.

Whatever is read is checked here, once. An attribute of ours that looks otherwise is left out, as though it had never
been written, and its name is kept under `odd`, so that pages and commands can say so. What another program keeps in
studies of its own is given as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from studies.words import check_study_name

ODD = "odd"
"""The attribute that names those left out."""
LONGEST_TEXT = 20_000
LONGEST_JSON = 4_000_000
DEEPEST = 40
"""How deep an attribute may be nested: whoever shows it goes down as deep."""

Shape = Callable[[Any], bool]


def decoded(text: str) -> Any:
    """The value of an attribute. Raises ValueError if it is none that a page could show."""
    if len(text) > LONGEST_JSON:
        raise ValueError(f"longer than {LONGEST_JSON:,} letters")
    if text.count("[") + text.count("{") > DEEPEST and _depth(text) > DEEPEST:
        raise ValueError(f"nested deeper than {DEEPEST}")
    return json.loads(text)


def _depth(text: str) -> int:
    depth = deepest = 0
    for bracket in re.sub(r'"(?:[^"\\]|\\.)*"', "", text):
        if bracket in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif bracket in "]}":
            depth -= 1
    return deepest


def is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -1e300 < value < 1e300


def is_amount(value: Any) -> bool:
    """Of seconds or images: a million years is none."""
    return is_number(value) and 0 <= value < 1e13


def is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST_TEXT


def _optional(shape: Shape) -> Shape:
    return lambda value: value is None or shape(value)


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, bool) or is_text(value) or is_number(value)


def _is_values(value: Any) -> bool:
    """A table of settings: scalars, or lists of them."""
    return isinstance(value, dict) and all(
        _is_scalar(each) or (isinstance(each, list) and all(map(_is_scalar, each))) for each in value.values()
    )


def _has(value: Any, shapes: Mapping[str, Shape], *, needs: tuple[str, ...] = ()) -> bool:
    """Whether a table has what it needs, and what it has has its shape."""
    return (
        isinstance(value, dict)
        and all(key in value for key in needs)
        and all(shape(value[key]) for key, shape in shapes.items() if key in value)
    )


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(is_text, value))


def _is_config(value: Any) -> bool:
    """The flat table of a network on images, what builds one of the user's own in `network`; or of a training of the
    user's own, all that it named in `params`.
    """
    if isinstance(value, dict) and isinstance(value.get("params"), dict):
        own: dict[str, Shape] = {"params": _is_values, "epochs": is_whole, "seed": is_whole}
        return _has(value, own) and value.keys() <= own.keys()
    if isinstance(value, dict) and isinstance(value.get("network"), dict):
        network, value = value["network"], {key: each for key, each in value.items() if key != "network"}
        return _is_values(network) and _is_config(value)
    shapes = {
        "epochs": is_whole,
        "batch_size": is_whole,
        "seed": is_whole,
        "learning_rate": is_number,
        "schedule": is_text,
        "step_factor": is_number,
        "step_epochs": lambda step: is_whole(step) or (isinstance(step, list) and all(map(is_whole, step))),
    }
    stepped = isinstance(value, dict) and value.get("schedule") == "step"
    return _is_values(value) and _has(value, shapes, needs=("step_factor", "step_epochs") if stepped else ())


def _is_parameter(value: Any) -> bool:
    """What may be tried of one hyperparameter: a range, choices, or a value that is fixed.

    `when` says which values of others it needs; a fixed value is then a table too.
    """
    if not isinstance(value, dict):
        return _is_values({"": value})
    if "when" in value and not (isinstance(value["when"], dict) and _is_values(value["when"])):
        return False
    if "value" in value:
        return _is_values({"": value["value"]})
    if "choices" in value:
        choices = value["choices"]
        return isinstance(choices, list) and all(_is_values({"": each}) for each in choices)
    return _has(value, {"low": is_number, "high": is_number, "step": is_number}, needs=("low", "high"))


def _is_space(value: Any) -> bool:
    shapes: dict[str, Shape] = dict.fromkeys(("study", "data", "sampler", "pruner"), _is_values)
    shapes["baseline"] = lambda given: all(map(_is_values, given if isinstance(given, list) else [given]))
    shapes["space"] = lambda space: isinstance(space, dict) and all(map(_is_parameter, space.values()))
    shapes["constraints"] = lambda table: _has(table, {"keep": _is_texts}, needs=("keep",))
    shapes |= {"train": _is_train, "model": lambda model: _has(model, {"network": is_text}, needs=("network",))}
    return _has(value, shapes, needs=("space",)) and all(
        isinstance(table, dict) or name == "baseline" for name, table in value.items()
    )


def _is_train(value: Any) -> bool:
    """The training of the user's own: which function or command, and what it is measured by."""
    return (
        _has(value, {"metric": is_text, "direction": ("minimize", "maximize").__contains__}, needs=("metric",))
        and _has(value, {"epochs": _optional(lambda epochs: is_whole(epochs) or is_text(epochs))})
        and (is_text(value.get("function")) or _is_texts(value.get("command")))
    )


def _is_data(value: Any) -> bool:
    """The images; or, if the training is the user's own, its file, which counts none."""
    counts = ("source_images", "train_images", "validation_images")
    shapes: dict[str, Shape] = dict.fromkeys(counts, is_whole) | dict.fromkeys(("source", "fingerprint"), is_text)
    shapes["classes"] = lambda classes: isinstance(classes, list) and all(map(is_text, classes))
    shapes["versions"] = _is_versions
    images = () if isinstance(value, dict) and "versions" in value else ("train_images", "validation_images")
    return _has(value, shapes, needs=("source", "fingerprint", *images))


def _is_audit(value: Any) -> bool:
    return _has(value, {"value": _optional(is_number), "epochs": is_whole}, needs=("value", "epochs"))


def _is_versions(value: Any) -> bool:
    return isinstance(value, dict) and all(map(is_text, value.values()))


def _is_folder(value: Any) -> bool:
    """The name of a study of ours. Those of other programs are renamed without it."""
    try:
        check_study_name(value if isinstance(value, str) else "")
    except ValueError:
        return False
    return True


STUDY: Mapping[str, Shape] = MappingProxyType(
    {
        "space": _is_space,
        "data": _is_data,
        "uid": lambda value: isinstance(value, str) and re.fullmatch("[0-9a-f]{32}", value) is not None,
    }
)
"""What makes a study one of ours."""

STUDY_FOLDER: Mapping[str, Shape] = MappingProxyType({"folder": _is_folder})
"""What a study of ours has beside that, if it has another name than it was begun with."""

TRIAL: Mapping[str, Shape] = MappingProxyType(
    {
        "config": _is_config,
        "audit": _is_audit,
        "versions": _is_versions,
        "git_commit": _optional(is_text),
        **dict.fromkeys(("failure", "reason", "device", "slot", "host", "data_fingerprint"), is_text),
        **dict.fromkeys(("epochs_run", "crashes", "same_as", "resumed_after"), is_whole),
        **dict.fromkeys(("seconds", "images_per_second"), is_amount),
        "threads": _optional(is_whole),
    }
)

TRIAL_SYSTEM: Mapping[str, Shape] = MappingProxyType(
    {"fixed_params": lambda value: isinstance(value, dict), "alexsearch:attempts": is_whole}
)


def odd_ones(attributes: Mapping[str, Any], shapes: Mapping[str, Shape]) -> list[str]:
    """The names of those that look otherwise."""
    return [key for key, shape in shapes.items() if key in attributes and not shape(attributes[key])]


def sound(attributes: Mapping[str, Any], shapes: Mapping[str, Shape]) -> dict[str, Any]:
    """The attributes without those that look otherwise; `odd` names them."""
    odd = odd_ones(attributes, shapes)
    kept = {key: value for key, value in attributes.items() if key not in odd}
    return {**kept, ODD: ", ".join(odd)} if odd else kept
