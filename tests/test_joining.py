"""Who may work on a study that is there: versions, data and spaces that do not mix are told apart, in one message."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from null_child import Played
from study_maker import SPACE, make_study

from search.base.home import Home
from search.base.mistakes import InputError
from search.base.provenance import alexsearch_version
from search.cli.main import main
from search.run.host import run_search
from search.run.request import RunOutcome, RunRequest
from search.space.space import SearchSpace
from studies.queue.queue import Queue
from studies.record.catalog import VERSION, StudyRecord, find_study
from studies.store.opening import open_storage
from studies.store.schema import LATEST
from studies.store.schema import VERSION as SCHEMA_VERSION
from studies.store.storage import Storage


class Listening:
    """A view that keeps the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def opened(self, *_: object) -> None: ...
    def event(self, _event: object) -> None: ...
    def counted(self, _counts: object) -> None: ...


def work(storage: Storage, home: Path, view: Listening | None = None, **given: Any) -> RunOutcome:
    """Go on with the study as this or another version, to the end of its queue."""
    start = given.pop("played", Played(fingerprint="f" * 16)).start
    space = SearchSpace.from_dict(given.pop("space", SPACE))
    request = RunRequest(space, Home(home), storage, start=start, workers=1, **given)
    return run_search(request, view or Listening(), threading.Event())


@pytest.fixture
def study(storage: Storage) -> StudyRecord:
    """One that alexsearch 0.7.1 made, with trials that wait."""
    return of_version(storage, make_study(storage, 0.5), "0.7.1")


def of_version(storage: Storage, study: StudyRecord, version: object) -> StudyRecord:
    storage.set_study_user_attr(study.study_id, VERSION, version)
    return find_study(storage, study.name)


@pytest.mark.parametrize(("ours", "joins"), [("0.8.0", True), ("1.7.1", False), ("0.6.9", True)])
def test_another_version_is_refused_by_both_names_and_nothing_starts(
    study: StudyRecord, storage: Storage, tmp_path: Path, ours: str, joins: bool
) -> None:
    played = Played(fingerprint="f" * 16)
    with pytest.raises(InputError, match=rf"made by alexsearch 0\.7\.1, and this is {ours}.*Use alexsearch 0\.7 on"):
        work(storage, tmp_path, version=ours, joins=joins, played=played)
    assert not played.places
    assert Queue(storage, study.study_id).counts().waiting == 3


def test_another_patch_version_joins_and_says_so_once(study: StudyRecord, storage: Storage, tmp_path: Path) -> None:
    view = Listening()
    assert work(storage, tmp_path, view, version="0.7.12", joins=True).counts.complete == 4
    told = [note for note in view.notes if "version" in note]
    assert told == ["alexsearch 0.7.1 made this study, and this is 0.7.12: only the patch version differs"]
    assert find_study(storage, study.name).attributes[VERSION] == "0.7.1"


@pytest.mark.parametrize("kept", [None, "old", 7])
def test_study_of_no_version_is_joined_and_keeps_that_one(storage: Storage, tmp_path: Path, kept: object) -> None:
    made = make_study(storage, 0.5)
    if kept is not None:  # somebody else wrote it
        made = of_version(storage, made, kept)
    assert work(storage, tmp_path, version="0.7.0", joins=True, timeout_seconds=0.0).timed_out
    assert find_study(storage, made.name).attributes[VERSION] == (kept or "0.7.0")
    if kept is None:
        with pytest.raises(InputError, match=r"made by alexsearch 0\.7\.0, and this is 0\.8\.0"):
            work(storage, tmp_path, version="0.8.0", joins=True)


def test_study_keeps_the_version_that_made_it(storage: Storage, tmp_path: Path) -> None:
    work(storage, tmp_path, version="3.4.5")
    assert find_study(storage, "small").attributes[VERSION] == "3.4.5"


def test_what_runs_from_a_folder_alone_has_no_version_to_compare(
    study: StudyRecord, storage: Storage, tmp_path: Path
) -> None:
    assert study.is_ours
    assert work(storage, tmp_path, version="not installed", joins=True).counts.complete == 4


def test_other_data_and_another_space_are_told_with_old_and_new(
    study: StudyRecord, storage: Storage, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=rf"\(the fingerprint was {'f' * 16}, is now {'e' * 16}\)"):
        work(storage, tmp_path, version="0.7.1", played=Played(fingerprint="e" * 16))
    other = {**SPACE, "space": {**SPACE["space"], "epochs": 5}}
    digests = [SearchSpace.from_dict(each).digest() for each in (SPACE, other)]
    with pytest.raises(InputError) as caught:
        work(storage, tmp_path, version="0.7.1", space=other)
    assert f"another space: its digest was {digests[0]}, is now {digests[1]}:" in str(caught.value)
    assert "[space] epochs: was 3, is now 5" in str(caught.value)
    assert Queue(storage, study.study_id).counts().waiting == 3


# ---- as it is typed


def alexsearch(*words: str) -> str:
    done = CliRunner().invoke(main, list(words))
    assert (done.exit_code, done.stdout) == (2, ""), done.output
    return done.stderr


@pytest.fixture
def where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    for name in [name for name in os.environ if name.startswith("ALEXSEARCH")]:
        monkeypatch.delenv(name)
    return ["--storage", f"sqlite:///{tmp_path / 'typed.db'}", "--home", str(tmp_path)]


def test_worker_of_another_version_says_so_rather_than_what_it_can_not_read(where: list[str]) -> None:
    storage = open_storage(where[1])
    study = of_version(storage, make_study(storage, 0.5), "99.0.0")
    storage.set_study_user_attr(study.study_id, "space", {"space": "of another kind"})
    told = alexsearch("worker", *where)
    assert f"made by alexsearch 99.0.0, and this is {alexsearch_version()}" in told
    assert "another program" not in told


@pytest.mark.parametrize("command", [["worker"], ["enqueue", "learning_rate=0.01"]])
def test_what_a_later_patch_version_stored_is_one_clear_message(where: list[str], command: list[str]) -> None:
    storage = open_storage(where[1])
    later = f"{alexsearch_version()}9"
    study = of_version(storage, make_study(storage, 0.5), later)
    space = {**study.attributes["space"], "sampler": {"name": "gp", "brand_new": 3}}
    storage.set_study_user_attr(study.study_id, "space", space)
    told = alexsearch(*command, *where)
    assert f"study 'small': alexsearch {later} wrote its space, and this is {alexsearch_version()}:" in told
    assert "unknown key brand_new" in told
    assert "Update alexsearch on this host; nothing was changed." in told


@pytest.mark.parametrize("command", [["worker"], ["status"], ["studies"], ["migrate", "--to", "sqlite:///there.db"]])
def test_database_of_a_later_version_is_one_clear_message(where: list[str], command: list[str]) -> None:
    storage = open_storage(where[1])
    make_study(storage, 0.5)
    with storage.engine.begin() as connection:
        connection.execute(sa.update(SCHEMA_VERSION).values(version_num=str(LATEST + 1)))
    told = alexsearch(*command, *where)
    assert f"a later alexsearch made it version {LATEST + 1}, and this one knows version {LATEST} at most" in told
    assert "Update alexsearch on this host; nothing was changed." in told
