"""The training process as its slot sees it. What a real one does is in test_trainer and test_run."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import search.training.child
from search.training.child import Child, ChildError, messages
from search.training.places import Place


class Talking:
    """Says what it is given, then nothing; a callable among it is called instead."""

    log = Path("a.log")

    def __init__(self, *said: Any) -> None:
        self._said = iter(said)

    def receive(self, _timeout: float) -> dict[str, Any] | None:
        message = next(self._said, None)
        return message() if callable(message) else message


def said(trial: int | None, kind: str = "progress") -> dict[str, Any]:
    return {"kind": kind} if trial is None else {"kind": kind, "trial": trial}


def test_messages_are_those_of_the_trial_until_told_to_stop() -> None:
    stopping = threading.Event()
    child: Any = Talking(
        said(3), said(2, "late"), None, said(None), said(3, "epoch"), stopping.set, said(3, "too late")
    )
    assert [message["kind"] for message in messages(child, 3, stopping)] == ["progress", "epoch"]


def test_silence_ends_a_trial_and_a_sign_of_life_of_any_kind_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 6))
    monkeypatch.setattr(search.training.child, "HANG_SECONDS", 10)
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    child: Any = Talking(said(3), None, said(2), None, said(3, "last"))
    heard = messages(child, 3, threading.Event())
    assert [next(heard)["kind"], next(heard)["kind"]] == ["progress", "last"]
    with pytest.raises(ChildError, match=r"no sign of life for 10 s, see a\.log"):
        next(heard)


def test_process_is_outgrown_when_its_memory_has_grown_unless_it_holds_compiled_programs_of_a_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(search.training.child, "GROWTH_MB", 50)
    child = Child.__new__(Child)
    child.place, child._first_megabytes = Place(0, "cpu"), None
    monkeypatch.setattr(Child, "pid", property(lambda _: os.getpid()))
    assert not child.outgrown()
    memory = np.ones(100 * 2**20, dtype=np.uint8)
    assert child.outgrown()
    child.place = Place(0, "gpu 0: a card", gpu="GPU-0")
    assert not child.outgrown()
    assert memory.any()
