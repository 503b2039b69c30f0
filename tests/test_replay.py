"""A trial trained again: what is demanded, what is named, and that the same gives the same bits."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from null_child import Played, fails
from optuna.trial import TrialState
from study_maker import DATA as STORED
from study_maker import SPACE, make_foreign, make_study

from model.config import DataSpec, EpochMetrics, TrainConfig, TrainError
from model.data import fingerprint, load_training, split
from model.device import Device, available_cores, cpu_name
from model.train import Engine
from search.base.home import Home
from search.base.mistakes import InputError
from search.base.provenance import provenance
from search.base.terminal import Output
from search.retraining.jobs import Means
from search.retraining.recipe import Recipe
from search.retraining.recipes import recipe_of
from search.retraining.replay import (
    METRICS,
    TOLERANCE,
    Here,
    compare_epoch,
    demanded_of,
    differences_of,
    replay_trial,
    verdict_of,
)
from search.screen.outcomes import print_replayed
from search.screen.progress import Bars
from search.space.space import SearchSpace
from studies.queue.queue import Queue
from studies.record.catalog import StudyError, find_study, open_study, trial_by_number
from studies.store.opening import open_storage
from studies.store.storage import Storage

DATA = DataSpec(source="synthetic", train_images=160, validation_images=100)
CONFIG = TrainConfig(batch_size=32, learning_rate=0.01, epochs=4, seed=7, precision="float32")
EPOCH = EpochMetrics(epoch=1, loss=1.5, accuracy=0.3, val_loss=1.4, val_accuracy=0.41, learning_rate=0.01, seconds=7.0)
HERE = Here("cpu", "cpu", 2, "f" * 16, {"python": "3.11"}, "abc")


PLAYED = {"accuracy": 0.6, "val_loss": 1.0, "val_accuracy": 0.507, "learning_rate": 0.1, "seconds": 2.0}
AGAIN = [EpochMetrics(epoch=epoch, loss=1 / epoch, **PLAYED) for epoch in (1, 2)]
"""What a played training comes to."""


@pytest.fixture(scope="module")
def trained() -> tuple[EpochMetrics, ...]:
    """Two of the four epochs of CONFIG, as a trial has them that was pruned then."""
    parts = split(load_training(DATA.source, Path()), DATA)
    engine = Engine(parts.train, parts.validation, Device("cpu", cpu_name(), "float32", False, available_cores()))
    return engine.train(CONFIG, lambda metrics: metrics.epoch < 2).history


def record(home: Path, history: Sequence[EpochMetrics], **changes: Any) -> Storage:
    """The database of a study whose one trial came to this history, on this machine unless `changes` say otherwise."""
    storage = open_storage(f"sqlite:///{home / 'alexsearch.db'}")
    space = SearchSpace.from_dict({**SPACE, "data": DATA.model_dump(exclude_none=True)})
    study, _ = open_study(storage, "small", {"space": space.to_dict(), "data": STORED})
    queue = Queue(storage, study.study_id)
    queue.fill(1)
    slot = queue.join("cpu")
    taken = queue.take(slot)
    assert taken is not None
    stored = {"config": CONFIG.model_dump(exclude_none=True), "device": cpu_name(), "threads": available_cores()}
    stored |= {"data_fingerprint": fingerprint(load_training(DATA.source, Path())), **provenance(), **changes}
    queue.describe(slot, taken.trial_id, stored)
    for metrics in history:
        queue.record_epoch(slot, taken.trial_id, metrics.model_dump())
    queue.settle(slot, taken.trial_id, TrialState.PRUNED, history[-1].val_accuracy, {})
    return storage


def replayed(storage: Storage, home: Path, played: Played) -> tuple[dict[str, Any], str]:
    """What replaying it gives and prints."""
    output, means = Output(), Means(Home(home), start=played.start, visible=lambda: ())
    output.file = printed = io.StringIO()
    document = replay_trial(storage, None, 0, means, Bars(output))
    print_replayed(output, document)
    return document, printed.getvalue()


@pytest.mark.slow
def test_another_process_trains_the_same_bits(trained: tuple[EpochMetrics, ...], tmp_path: Path) -> None:
    record(tmp_path, trained)
    command = [sys.executable, "-m", "search.cli.main", "replay", "--home", str(tmp_path), "--trial", "0", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    document = json.loads(done.stdout)
    assert (document["reproduced"], document["verdict"], document["first_unequal_epoch"]) == (True, "bit-equal", None)
    assert [epoch["again"] for epoch in document["epochs"]] == [
        {name: getattr(metrics, name) for name in METRICS} for metrics in trained
    ]
    named = {difference["what"] for difference in document["differences"]}
    assert named <= {"git commit"}, "this tree may have changes that are not committed"
    assert document["demanded"] == ("within tolerance" if named else "bit-equal")


def test_training_is_replayed_with_its_threads_up_to_its_last_recorded_epoch(tmp_path: Path) -> None:
    played = Played(fingerprint=fingerprint(load_training(DATA.source, Path())))
    document, printed = replayed(record(tmp_path, AGAIN, threads=1, device="null 0"), tmp_path, played)
    assert [place.threads for place in played.places] == [1]
    assert played.openings == ["held-out"]
    assert (played.asked[0].config, played.asked[0].checkpoints) == (CONFIG, None)
    assert played.verdicts == {1: True, 2: False, 3: False, 4: False}
    assert [epoch["epoch"] for epoch in document["epochs"]] == [1, 2]
    assert {difference["what"] for difference in document["differences"]} <= {"git commit"}
    assert "epoch 2: loss 0.5000, accuracy 0.6000, val_loss 1.0000, val_accuracy 0.5070: bit-equal" in printed
    assert "reproduced: all metrics of 2 epochs are equal, bit for bit" in printed


def test_crash_begins_again_and_compares_no_epoch_twice_and_divergence_is_an_error(tmp_path: Path) -> None:
    played = Played(trouble=lambda _config, attempt: "crash" if attempt == 1 else None)
    storage = record(tmp_path, AGAIN)
    document, printed = replayed(storage, tmp_path, played)
    assert "trial 0 begins again: training process was killed by signal 9" in printed
    assert len(document["epochs"]) == 2
    with pytest.raises(TrainError, match=r"The loss became nan\."):
        replayed(storage, tmp_path, Played(trouble=lambda *_: fails("diverged", "The loss became nan.")))


def test_what_differs_is_named_and_then_a_tolerance_holds(tmp_path: Path) -> None:
    nearly = [metrics.model_copy(update={"loss": metrics.loss + 1e-4}) for metrics in AGAIN]
    changes = {"device": "another CPU", "versions": {"tensorflow": "2.20.0"}, "data_fingerprint": "sha256:1"}
    document, printed = replayed(record(tmp_path, nearly, **changes), tmp_path, Played())
    assert (document["reproduced"], document["verdict"], document["demanded"]) == (True, *["within tolerance"] * 2)
    assert document["first_unequal_epoch"] == 1
    assert document["largest_difference"]["loss"] == pytest.approx(1e-4)
    assert {"device", "tensorflow", "data fingerprint"} <= {each["what"] for each in document["differences"]}
    assert "differs: device: then another CPU, now null 0" in printed
    assert "differs: tensorflow: then 2.20.0, now 2.21" in printed
    assert "reproduced: 2 epochs within tolerance (unequal from epoch 1 on)" in printed


def test_other_numbers_are_not_reproduced(tmp_path: Path) -> None:
    other = [AGAIN[0], AGAIN[1].model_copy(update={"val_accuracy": 0.99})]
    document, printed = replayed(record(tmp_path, other), tmp_path, Played())
    assert (document["reproduced"], document["verdict"], document["first_unequal_epoch"]) == (False, "different", 2)
    assert "NOT reproduced: unequal from epoch 2 on, further apart than the tolerance" in printed


def recorded(tmp_path: Path, **attributes: Any) -> tuple[Recipe, Mapping[str, Any]]:
    """A finished trial as it was recorded on HERE, with these attributes changed."""
    storage = open_storage(f"sqlite:///{tmp_path / 'study.db'}")
    make_study(storage, 0.4)
    study = find_study(storage, None)
    trial = trial_by_number(storage, study, 0)
    trial.user_attrs.update({"threads": 2, "git_commit": "abc", **attributes})
    return recipe_of(storage, study, trial), trial.user_attrs


def test_every_bit_is_demanded_only_where_nothing_differs(tmp_path: Path) -> None:
    recipe, stored = recorded(tmp_path)
    assert differences_of(recipe, stored, HERE) == []
    assert demanded_of(recipe, HERE, []) == "bit-equal"
    half = recipe.model_copy(update={"config": recipe.config.model_copy(update={"precision": "bfloat16"})})
    assert demanded_of(half, HERE, []) == "within tolerance"
    assert demanded_of(recipe, replace(HERE, kind="gpu"), []) == "within tolerance"
    others: dict[str, Any] = {
        "device": "another",
        "threads": 1,
        "data_fingerprint": "0",
        "versions": {"python": "3.12"},
        "git_commit": "abd",
    }
    for name, value in others.items():
        found = differences_of(recipe, stored, replace(HERE, **{name: value}))
        assert [difference.what for difference in found] == [{"versions": "python"}.get(name, name.replace("_", " "))]
        assert demanded_of(recipe, HERE, found) == "within tolerance"


def test_what_was_not_recorded_differs(tmp_path: Path) -> None:
    recipe, stored = recorded(tmp_path, threads=None, git_commit=None, resumed_after=3)
    found = {each.what: (each.recorded, each.here) for each in differences_of(recipe, stored, HERE)}
    assert found == {
        "threads": ("not recorded", "2"),
        "git commit": ("not recorded", "abc"),
        "training": ("in several goes, the last from epoch 4 on", "in one go"),
    }


def test_changes_that_are_not_committed_are_never_the_same(tmp_path: Path) -> None:
    recipe, stored = recorded(tmp_path, git_commit="abc-dirty")
    (found,) = differences_of(recipe, stored, replace(HERE, git_commit="abc-dirty"))
    assert (found.what, found.here) == ("git commit", "abc-dirty, changed since")


@pytest.mark.parametrize("metric", METRICS)
def test_one_bit_is_a_difference_and_one_metric_beyond_its_tolerance_is_another_training(metric: str) -> None:
    value = getattr(EPOCH, metric)
    same = compare_epoch(EPOCH, EPOCH)
    bit = compare_epoch(EPOCH, EPOCH.model_copy(update={metric: value + 2**-50}))
    far = compare_epoch(EPOCH, EPOCH.model_copy(update={metric: value + 1.01 * TOLERANCE[metric]}))
    for demanded, expected in (("bit-equal", (True, False, False)), ("within tolerance", (True, True, False))):
        found = [verdict_of([same, {**epoch, "epoch": 2}], demanded) for epoch in (same, bit, far)]
        assert tuple(each["reproduced"] for each in found) == expected
        assert [each["verdict"] for each in found] == ["bit-equal", "within tolerance", "different"]
        assert [each["first_unequal_epoch"] for each in found] == [None, 2, 2]


def test_trial_without_a_record_is_refused_before_anything_starts(tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path / 'study.db'}")
    make_study(storage, 0.4, TrialState.FAIL)
    make_foreign(storage, "theirs", (1.0,), directions=["maximize"])
    home = Home(tmp_path / "home")
    for name, number, error in (("small", 1, StudyError), ("small", 9, StudyError), ("theirs", 0, InputError)):
        with pytest.raises(error):
            replay_trial(storage, name, number, Means(home))
    assert not home.folder.exists()
