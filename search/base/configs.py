"""A configuration as people read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model.config import beyond
from studies.words import number


def columns_of(config: Mapping[str, Any]) -> tuple[str, str, str]:
    """A configuration's batch size, learning rate and schedule, as cells of a table."""
    return str(config["batch_size"]), f"{config['learning_rate']:.3g}", schedule_of(config)


def schedule_of(config: Mapping[str, Any]) -> str:
    """ "constant", "x 0.1 every 4" or "x 0.1 after 10, 20"."""
    if config["schedule"] != "step":
        return str(config["schedule"])
    step = config["step_epochs"]
    after = f"every {step}" if isinstance(step, int) else "after " + ", ".join(str(epoch) for epoch in step)
    return f"x {config['step_factor']:g} {after}"


def short(config: Mapping[str, Any]) -> str:
    """A configuration on one line: what decides it, without seed and precision."""
    words = [f"batch_size {config['batch_size']}", f"learning_rate {config['learning_rate']:.3g}"]
    more = [f"{name} {number(value)}" for name, value in beyond(config).items()]
    return ", ".join([*words, f"epochs {config['epochs']}", schedule_of(config), *more])
