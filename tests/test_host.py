"""A whole run in this process, over a training process that plays a script."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from scripted_child import READY, Script, epoch, finished, started

import search.run.host
from search.base.home import Home
from search.run.host import run_search
from search.run.request import RunOutcome, RunRequest
from search.space.space import SearchSpace
from studies.store.opening import open_storage

SPACE = SearchSpace.from_dict(
    {
        "study": {"name": "s", "trials": 1},
        "data": {"source": "synthetic", "validation_images": 400},
        "space": {"batch_size": 32, "learning_rate": 0.01, "epochs": 3},
    }
)
WHOLE = [READY, started(), epoch(1), epoch(2), epoch(3), finished()]


class Blind:
    """A view that shows nothing."""

    def note(self, text: str) -> None: ...
    def opened(self, *_: object) -> None: ...
    def event(self, _event: object) -> None: ...
    def counted(self, _counts: object) -> None: ...


def run(home: Path, script: Script) -> RunOutcome:
    storage = open_storage(f"sqlite:///{home / 'study.db'}")
    return run_search(RunRequest(SPACE, Home(home), storage, start=script.start), Blind(), threading.Event())


def test_note_is_refreshed_when_a_run_ends_and_its_failure_is_nobodys_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def refresh(*_: object) -> None:
        calls.append(1)
        raise RuntimeError("a defect")

    monkeypatch.setattr(search.run.host, "refresh_notes", refresh)
    assert run(tmp_path, Script([list(WHOLE)])).counts.complete == 1
    assert calls == [1]


def test_defect_in_a_slot_ends_the_run_with_its_error_and_leaves_no_slot(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        run(tmp_path, Script([[READY, started(), ZeroDivisionError("a defect")]]))
    assert run(tmp_path, Script([list(WHOLE)])).counts.complete == 1
