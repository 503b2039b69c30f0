"""A study is deleted with all that is its own and nothing else, on both databases."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import optuna
import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result
from optuna.storages._rdb import models
from optuna.trial import TrialState
from scripted_child import READY, Script, epoch, finished, started
from study_maker import SPACE, make_foreign, make_study

from search.base.artifacts import Artifacts
from search.base.home import Home
from search.cli.main import main
from search.run.deleting import belongings_of, delete
from search.run.slot import Assignment, Slot
from search.space.space import SearchSpace
from search.training.places import Place
from studies.queue.queue import Queue
from studies.record.catalog import StudyRecord, all_studies, open_study
from studies.store import schema
from studies.store.artifact_names import PREFIX
from studies.store.cache import StartedTrials
from studies.store.opening import open_storage
from studies.store.storage import Storage


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def alexsearch(*words: object, code: int = 0, typed: str | None = None) -> Result:
    done = CliRunner().invoke(main, [str(word) for word in words], input=typed)
    assert isinstance(done.exception, SystemExit | None), done.exception
    assert done.exit_code == code, done.output
    return done


def rows(storage: Storage) -> dict[str, int]:
    """How many each table holds, Optuna's and ours."""
    tables = [*models.BaseModel.metadata.sorted_tables, schema.EPOCHS, schema.SLOTS]
    counts = {table.name: sa.select(sa.func.count()).select_from(table) for table in tables}
    return storage.read(lambda session: {name: session.scalar(query) or 0 for name, query in counts.items()})


def with_files(home: Home, storage: Storage, study: StudyRecord) -> list[Path]:
    """What a search leaves of the study; the files."""
    checkpoint = home.checkpoints(study.folder, study.attributes["uid"], 1) / "epoch-1.npz"
    log = home.log(study.folder, "slot-0")
    for file in (checkpoint, log):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * 1000)
    first = storage.get_all_trials(study.study_id)[0]
    artifact_id = next(key for key in first.system_attrs if key.startswith(PREFIX)).removeprefix(PREFIX)
    Artifacts(storage, home.artifacts).write(artifact_id, io.BytesIO(b"picture"))
    return [checkpoint, log, home.artifacts / artifact_id]


def test_deleted_study_leaves_no_row_and_no_file_and_the_others_stay_whole(storage: Storage, home: Home) -> None:
    kept = make_study(storage, 0.3, name="kept")
    before, others = rows(storage), with_files(home, storage, kept)
    gone = make_study(storage, 0.4, TrialState.PRUNED, TrialState.FAIL)
    files = with_files(home, storage, gone)
    going = belongings_of(storage, home, gone)
    assert (going.counts.settled, len(going.folders), len(going.artifacts)) == (3, 2, 1)
    assert [size for _, size in (*going.folders, *going.artifacts)] == [1000, 1000, 7]
    assert delete(storage, home, going) == []
    assert rows(storage) == before
    assert [each.name for each in all_studies(storage)] == ["kept"]
    assert not any(file.exists() for file in files)
    assert not home.study("small").exists()
    assert all(file.exists() for file in others)
    delete(storage, home, going)  # again finds the work done
    assert rows(storage) == before


def test_rows_of_a_study_that_was_deleted_elsewhere_go_with_it(storage: Storage, home: Home) -> None:
    elsewhere, gone = make_study(storage, 0.4), make_study(storage, 0.5, name="gone")
    storage.delete_study(elsewhere.study_id)
    delete(storage, home, belongings_of(storage, home, gone))
    assert set(rows(storage).values()) == {0, rows(storage)["version_info"]}


def test_what_was_trained_beside_the_queue_and_what_another_study_left_stays(storage: Storage, home: Home) -> None:
    study = make_study(storage, 0.4)
    _, log, _ = with_files(home, storage, study)
    model = home.retrain(study.folder, 0) / "seed-0.keras"
    elsewhere = home.checkpoints(study.folder, "0" * 32, 3) / "epoch-1.npz"  # of another database
    for file in (model, elsewhere):
        file.parent.mkdir(parents=True)
        file.write_bytes(b"hours")
    going = belongings_of(storage, home, study)
    assert [each.name for each in going.stays] == ["retrain"]
    delete(storage, home, going)
    assert model.exists()
    assert elsewhere.exists()
    assert log.exists()  # whose it is can't be told


def test_nothing_is_removed_through_a_link_or_outside_the_home(storage: Storage, home: Home, tmp_path: Path) -> None:
    study = make_study(storage, 0.4)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "mine").write_text("mine")
    home.study(study.folder).mkdir(parents=True)
    (home.study(study.folder) / "checkpoints").symlink_to(outside)
    storage.set_study_system_attr(study.study_id, f"{PREFIX}../outside/mine", "{}")
    delete(storage, home, belongings_of(storage, home, study))
    assert (outside / "mine").read_text() == "mine"


def test_another_programs_study_is_deleted_as_well(storage: Storage, home: Home) -> None:
    before = rows(storage)
    make_foreign(storage, "theirs", (1.0, 2.0), directions=["minimize", "maximize"])
    optuna.load_study(study_name="theirs", storage=storage).ask()
    delete(storage, home, belongings_of(storage, home, all_studies(storage)[0]))
    assert rows(storage) == before


def test_slot_whose_study_is_deleted_under_it_lets_go_and_ends(storage: Storage, home: Home) -> None:
    space = SearchSpace.from_dict(SPACE)
    study, _ = open_study(storage, "small", {"space": space.to_dict(), "data": {}})
    queue = Queue(storage, study.study_id)
    queue.fill(2)
    going = belongings_of(storage, home, study)
    lines = [READY, started(), epoch(1), lambda: delete(storage, home, going), epoch(2), epoch(3), finished()]
    work = Assignment(
        home=home,
        study_name=study.folder,
        study_uid=study.attributes["uid"],
        space=space,
        data=space.data,
        fingerprint="f",
        provenance={"versions": {}, "git_commit": None, "host": "h"},
        queue=queue,
        storage=StartedTrials(storage, {study.folder: study.study_id}),
        pruner=optuna.pruners.NopPruner(),
        tell=lambda _: None,
        stopping=threading.Event(),
        start=Script([lines]).start,
    )
    Slot(Place(0, "cpu"), work).run()
    assert all_studies(storage) == []
    assert set(rows(storage).values()) == {0, rows(storage)["version_info"]}


def test_command_says_what_goes_asks_and_takes_no_for_an_answer(tmp_path: Path, home: Home) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    storage = open_storage(url)
    files = with_files(home, storage, make_study(storage, 0.4, 0.5))
    words = ("delete", "--study", "small", "--home", home.folder, "--storage", url)
    refused = alexsearch(*words, typed="n\n", code=1)
    assert "2 of 4 settled" in refused.stdout
    assert "checkpoints" in refused.stdout
    assert "0.0 MB" in refused.stdout
    assert "nothing was deleted" in refused.stderr
    assert "--yes" in alexsearch(*words, typed="", code=2).stderr
    assert all(file.exists() for file in files)
    assert "study small is deleted" in alexsearch(*words, typed="y\n").stdout
    assert all_studies(storage) == []
    assert not any(file.exists() for file in files)
    assert "is not in" in alexsearch(*words, "--yes", code=2).stderr


def test_study_with_a_worker_alive_is_deleted_only_if_told_so(tmp_path: Path, home: Home) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    storage = open_storage(url)
    study = make_study(storage, 0.4)
    Queue(storage, study.study_id).join("cpu")
    words = ("delete", "--study", "small", "--yes", "--home", home.folder, "--storage", url)
    refused = alexsearch(*words, code=2).stderr
    assert "at work on it" in refused
    assert "alexsearch stop --now --study small" in refused
    assert len(all_studies(storage)) == 1
    alexsearch(*words, "--despite-workers")
    assert all_studies(storage) == []
    assert rows(storage)[schema.SLOTS.name] == 0
