"""A configuration as people read it: a network's on images, or a training's of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model.config import HYPERPARAMETERS, beyond
from studies.record.metric import trains
from studies.words import is_searched, number, settings, settings_in


def columns_of(config: Mapping[str, Any]) -> tuple[str, str, str]:
    """A network's batch size, learning rate and schedule, or what builds one of the user's own, as cells of a table."""
    last = settings(config["network"]) if config.get("network") else schedule_of(config)
    return str(config["batch_size"]), f"{config['learning_rate']:.3g}", last


def schedule_of(config: Mapping[str, Any]) -> str:
    """ "constant", "x 0.1 every 4" or "x 0.1 after 10, 20"."""
    if config["schedule"] != "step":
        return str(config["schedule"])
    step = config["step_epochs"]
    after = f"every {step}" if isinstance(step, int) else "after " + ", ".join(str(epoch) for epoch in step)
    return f"x {config['step_factor']:g} {after}"


def searched_columns(study: Mapping[str, Any]) -> list[str]:
    """The columns that show what a study's space searches; its schedule is one, with all that belongs to it.

    `study` are the study's attributes.
    """
    space = study["space"].get("space", {})
    searched = [name for name, stored in space.items() if is_searched(stored)]
    if trains(study).kind == "own":
        return searched
    names = [_column(name) for name in searched]
    others = [name for name in dict.fromkeys(names) if name != "schedule"]
    return others + ["schedule"] * ("schedule" in names)


def _column(name: str) -> str:
    about = HYPERPARAMETERS.get(name)
    return "schedule" if about and about.parent == "schedule" else name


def cell(config: Mapping[str, Any], name: str) -> str:
    """A column of a configuration; a dash where it has no such value."""
    value = settings_in(config).get(name)
    if name == "schedule" and "params" not in config:
        return schedule_of(config)
    return "-" if value is None else number(value)


def short(config: Mapping[str, Any]) -> str:
    """A configuration on one line: what decides it, without seed and precision."""
    if "params" in config:
        return settings(config["params"])
    words = [settings(config["network"])] if config.get("network") else []
    words += [f"batch_size {config['batch_size']}", f"learning_rate {config['learning_rate']:.3g}"]
    more = [f"{name} {number(value)}" for name, value in beyond(config).items()]
    return ", ".join([*words, f"epochs {config['epochs']}", schedule_of(config), *more])
