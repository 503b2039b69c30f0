"""What optuna-dashboard is told of a study: notes, kept figures, artifacts. Read back through its own functions."""

from __future__ import annotations

import csv
import errno
import io
import json
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from optuna.artifacts import get_all_artifact_meta
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.trial import TrialState
from optuna_dashboard import save_note, save_plotly_graph_object
from optuna_dashboard._custom_plot_data import get_plotly_graph_objects
from optuna_dashboard._note import get_note_from_system_attrs
from PIL import Image
from plotly.graph_objects import Figure
from study_maker import DATA, make_foreign, make_study

from search.base.artifacts import Artifacts
from studies.record.catalog import StudyRecord, find_study
from studies.record.findings import findings_of
from studies.record.retrained import record, summarised
from studies.show.notes import LAST_LINE, escaped, refresh_notes, study_note
from studies.store.opening import open_storage
from studies.store.storage import Storage
from studies.store.tables import TRIALS
from studies.words import listed, parameter


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(f"sqlite:///{tmp_path / 'study.db'}")


@pytest.fixture
def study(storage: Storage) -> StudyRecord:
    """A best trial with number 1, a pruned one, a failed one, and one that waits."""
    return make_study(storage, 0.4, 0.6, TrialState.PRUNED, TrialState.FAIL, trials=5)


def note_of(storage: Storage, study: StudyRecord) -> str:
    body: str = get_note_from_system_attrs(storage.get_study_system_attrs(study.study_id), None)["body"]
    return body


def version_of(storage: Storage, study: StudyRecord) -> int:
    return int(storage.get_study_system_attrs(study.study_id).get("dashboard:note_ver", 0))


def test_study_note_says_question_answer_and_cost(storage: Storage, study: StudyRecord) -> None:
    refresh_notes(storage, study)
    note = note_of(storage, study)
    assert "Which learning_rate gives the network its highest validation accuracy?" in note
    assert "**0.6000** validation accuracy, trial 1: learning_rate 0.02" in note
    assert "4 of 5 settled: 2 complete, 1 pruned, 1 failed; 1 waiting" in note
    assert "1,600 training and 400 validation images of synthetic" in note
    assert "| learning_rate | 0.001 to 0.1, log |" in note
    assert "| fixed | batch_size 32, schedule constant, epochs 3" in note
    assert "device time; pruning saved about" in note
    assert "report |" not in note  # synthetic images are not the report's
    assert note.endswith(LAST_LINE)


def test_report_and_verified_score_are_in_the_note_of_a_study_of_cifar10(storage: Storage, study: StudyRecord) -> None:
    data = {**DATA, "source": "some.npz", "source_images": 50_000, "classes": list("abcdefghij")}
    storage.set_study_user_attr(study.study_id, "data", data)
    refresh_notes(storage, study)
    assert "0.7081 on the test images in 2022; `alexsearch retrain` tells" in note_of(storage, study)
    kept = summarised(
        trial=1, searched=0.6, split="test", scores={0: 0.75, 1: 0.77}, images=50_000, finished="2026-01-01T00:00:00Z",
        is_cifar10=True,
    )  # fmt: skip
    record(storage, study, kept)
    refresh_notes(storage, study)  # with the record as it was found before the retraining
    note = note_of(storage, study)
    assert "**0.7600** ± 0.0141 on the test images, trial 1 trained anew, 2 seeds" in note
    assert "0.7081 on the test images in 2022: **+0.0519** over it" in note


def test_note_is_written_only_where_it_changed_and_what_people_add_stays(database_url: str) -> None:
    storage = open_storage(database_url)
    study = make_study(storage, 0.4, 0.6, TrialState.PRUNED, TrialState.FAIL, trials=5)
    refresh_notes(storage, study)
    assert version_of(storage, study) == 1
    refresh_notes(storage, study)
    assert version_of(storage, study) == 1
    optunas = optuna.load_study(study_name="small", storage=storage)
    save_note(optunas, note_of(storage, study) + "\n\nAsk Ana about trial 3. " + "x" * 3000)
    storage.set_study_user_attr(study.study_id, "data", {**DATA, "train_images": 1601})
    refresh_notes(storage, study)
    note = note_of(storage, study)
    assert "1,601 training" in note
    assert note.count(LAST_LINE) == note.count("Ask Ana about trial 3.") == 1
    save_note(optunas, "Mine alone.")
    refresh_notes(storage, study)
    assert note_of(storage, study).endswith(LAST_LINE + "\n\nMine alone.")
    assert version_of(storage, study) == 5


def test_figures_are_kept_under_ids_of_their_own_in_place_of_those_kept_before(
    storage: Storage, study: StudyRecord
) -> None:
    optunas = optuna.load_study(study_name="small", storage=storage)
    for name in ("alexsearch-pruning", "mine"):
        save_plotly_graph_object(optunas, Figure(), graph_object_id=name)
    for _ in range(2):
        refresh_notes(storage, study)
        kept = get_plotly_graph_objects(storage.get_study_system_attrs(study.study_id))
        assert set(kept) == {"mine", "alexsearch-lanes", "alexsearch-seconds"}
    lanes = json.loads(kept["alexsearch-lanes"])
    assert [trace["name"] for trace in lanes["data"]] == ["pruned (1)", "complete (2)", "failed (1)"]
    assert all(len(figure) < 10_000 for figure in kept.values())


@pytest.mark.parametrize("outcomes", [(), (None,), (0.5,), (TrialState.FAIL,) * 4])
def test_any_study_has_a_note(storage: Storage, outcomes: tuple[Any, ...]) -> None:
    study = make_study(storage, *outcomes)
    refresh_notes(storage, study)
    assert ("no trial is complete yet" in note_of(storage, study)) == (0.5 not in outcomes)


def test_another_programs_study_is_left_alone(storage: Storage) -> None:
    make_foreign(storage, "theirs", (1.0,), directions=["minimize"])
    theirs = find_study(storage, "theirs")
    refresh_notes(storage, theirs)
    assert storage.get_study_system_attrs(theirs.study_id) == {}


def test_hostile_names_are_shown_and_not_obeyed(storage: Storage, study: StudyRecord) -> None:
    hostile = "a|b*c*`d`<img src=x onerror=alert(1)>\n\n# [x](javascript:alert(1)) $y$"
    storage.set_study_user_attr(study.study_id, "data", {**DATA, "source": hostile})
    note = study_note(findings_of(storage, find_study(storage, "small")))
    assert "<" not in note
    assert not any(line.startswith("# ") for line in note.splitlines())
    assert "[x]" not in note
    assert escaped(hostile).count("\n") == 0


def test_artifacts_are_drawn_when_asked_for_and_then_kept(storage: Storage, study: StudyRecord, tmp_path: Path) -> None:
    store = Artifacts(storage, tmp_path / "artifacts")
    trial = storage.get_all_trials(study.study_id)[1]
    metas = {meta.filename: meta for meta in get_all_artifact_meta(trial, storage=storage)}
    assert {name: meta.mimetype for name, meta in metas.items()} == {
        "curves.png": "image/png",
        "epochs.csv": "text/csv",
    }
    assert not (tmp_path / "artifacts").exists()
    picture = Image.open(store.open_reader(metas["curves.png"].artifact_id))
    assert (picture.format, picture.size) == ("PNG", (1280, 576))
    table = store.open_reader(metas["epochs.csv"].artifact_id).read().decode()
    rows = list(csv.DictReader(io.StringIO(table)))
    assert [(row["epoch"], row["val_accuracy"]) for row in rows] == [("1", "0.6"), ("2", "0.6"), ("3", "0.6")]
    kept = sorted(path.name for path in (tmp_path / "artifacts").iterdir())
    assert kept == sorted(meta.artifact_id for meta in metas.values())
    with storage.engine.begin() as connection:
        connection.execute(sa.delete(TRIALS))
    assert store.open_reader(kept[0]).read()
    store.remove(kept[0])
    store.remove(kept[0])  # deleting a study asks for each, drawn or not
    with pytest.raises(ArtifactNotFound):
        store.open_reader(kept[0])


@pytest.mark.parametrize("artifact_id", ["", "0", "zz", "0" * 36, "../study.db"])
def test_an_id_that_no_trial_has_is_no_artifact(
    storage: Storage, study: StudyRecord, tmp_path: Path, artifact_id: str
) -> None:
    del study
    with pytest.raises((ArtifactNotFound, ValueError, IsADirectoryError)):
        Artifacts(storage, tmp_path / "artifacts").open_reader(artifact_id)


def test_a_trial_without_an_epoch_has_no_artifacts_and_a_full_disk_hides_none(
    storage: Storage, study: StudyRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = storage.get_all_trials(study.study_id)
    assert get_all_artifact_meta(trials[4], storage=storage) == []
    monkeypatch.setattr("model.files.os.fsync", full)
    first = next(m for m in get_all_artifact_meta(trials[0], storage=storage) if m.filename == "curves.png")
    for _ in range(2):
        assert Artifacts(storage, tmp_path / "artifacts").open_reader(first.artifact_id).read(4) == b"\x89PNG"
    assert list((tmp_path / "artifacts").iterdir()) == []


def full(_file: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_spaces_are_put_into_words() -> None:
    assert parameter({"low": 1, "high": 50, "step": 5}) == "1 to 50, in steps of 5"
    assert parameter({"choices": [5, [10, 20]]}) == "5 or [10, 20]"
    assert parameter(0.1) == "0.1"
    assert listed(["a"]) == "a"
