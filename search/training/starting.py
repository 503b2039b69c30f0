"""Starts the training process that fits what is trained: ours, or one that runs training of one's own."""

from __future__ import annotations

from pathlib import Path

from model.config import DataSpec, NetworkSpec
from search.space.own import Program
from search.training.child import Child, Process
from search.training.messages import Validation
from search.training.own_child import OwnChild
from search.training.places import Place


def start_process(
    place: Place,
    data: DataSpec,
    cache: Path,
    log: Path,
    validation: Validation = "held-out",
    own: Program | NetworkSpec | None = None,
) -> Process:
    """See `search.training.child.Start`."""
    if isinstance(own, Program):
        return OwnChild(place, own, log)
    return Child(place, data, cache, log, validation, own)
