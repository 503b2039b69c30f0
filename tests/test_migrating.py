"""Studies are copied between databases whole and exactly, and what is not so is not kept: on SQLite and Postgres."""

from __future__ import annotations

import io
import itertools
import math
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import optuna_dashboard
import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.storages._rdb import models
from optuna.trial import TrialState
from postgres_server import PostgresServer, new_database
from study_maker import make_foreign, make_own_study, make_study

from search.base.artifacts import Artifacts
from search.base.home import Home
from search.cli.main import main
from search.run.migrating import migrate
from studies.queue.limits import Limits
from studies.queue.queue import Queue
from studies.record.catalog import StudyRecord, all_studies, find_study
from studies.record.retrained import read, record, summarised
from studies.store import schema
from studies.store.artifact_names import PREFIX
from studies.store.contents import PARTS, content_of
from studies.store.copying import CopyError, copy_study
from studies.store.epochs import epochs_of_study
from studies.store.opening import open_storage
from studies.store.storage import Storage
from studies.store.tables import TRIALS

NewDatabase = Callable[[str], str]
UNORDERED = ("_trial_id", "_system_attrs", "intermediate_values")
WAYS = [("sqlite", "postgres"), ("postgres", "sqlite"), ("postgres", "postgres"), ("sqlite", "sqlite")]


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("ALEXSEARCH")]:
        monkeypatch.delenv(name)


@pytest.fixture
def new(request: pytest.FixtureRequest, tmp_path: Path) -> NewDatabase:
    """Gives the URL of a new, empty database of a kind."""
    numbers = itertools.count()

    def made(kind: str) -> str:
        if kind == "sqlite":
            return f"sqlite:///{tmp_path / str(next(numbers))}.db"
        return new_database(request.getfixturevalue("postgres_server"))

    return made


def opened(url: str) -> Storage:
    return open_storage(url)


def nothing(_done: int, _all: int) -> None:
    pass


def full_study(storage: Storage) -> StudyRecord:
    """A study with trials in every state but running, limits, a stop, a note of a trial, a retraining, odd values."""
    study = make_study(storage, 0.4, TrialState.PRUNED, TrialState.FAIL, None, trials=6)
    queue = Queue(storage, study.study_id)
    queue.enqueue({"learning_rate": 0.05})
    queue.begin(Limits(max_device_hours=3.5, patience=7))
    queue.request_stop(now=False)
    scores = {0: 0.3, 1: 0.1 + 0.2}
    record(storage, study, summarised(trial=0, searched=0.4, split="test", scores=scores, images=9, finished="now"))
    optuna_study = optuna.load_study(study_name=study.name, storage=storage)
    slot = queue.join("cpu")
    queue.begin()
    taken = queue.take(slot)
    assert taken is not None
    for step, value in enumerate((math.inf, -math.inf, math.nan, 5e-324, -0.0, 0.1 + 0.2)):
        storage.set_trial_intermediate_value(taken.trial_id, step, value)
    odd = {"big": 2**63 - 1, "bigger": 10**30, "text": "ä\u0000\U0001f600\udc80", "none": None, "deep": [{"a": [1.5]}]}
    for key, each in odd.items():
        storage.set_trial_user_attr(taken.trial_id, key, each)
        storage.set_study_user_attr(study.study_id, f"ö {key}", each)
    queue.leave(slot)
    for trial in optuna_study.get_trials(deepcopy=False)[:2]:
        key, text = f"dashboard:{trial._trial_id}:note_str:0", f"of trial {trial.number}"
        storage.set_study_system_attr(study.study_id, key, text)
        storage.set_study_system_attr(study.study_id, f"dashboard:{trial._trial_id}:note_ver", 1)
    return find_study(storage, study.name)


def crowded(url: str) -> Storage:
    """A database in which ids are taken, and of which SQLite gives some again, whose epochs somebody left."""
    storage = opened(url)
    make_study(storage, 0.2, name="before")
    storage.delete_study(make_study(storage, 0.3, 0.4, trials=12, name="deleted").study_id)
    return storage


def said(storage: Storage, name: str) -> list[str]:
    """All that Optuna and we read of a study's trials, but for their ids, floats to their last bit."""
    study = find_study(storage, name)
    lines = []
    for trial in storage.get_all_trials(study.study_id, deepcopy=False):
        unordered = sorted(trial.system_attrs.items()), sorted(trial.intermediate_values.items())
        rest = {key: each for key, each in vars(trial).items() if key not in UNORDERED}
        lines.append(repr((*unordered, rest)))
    return [*lines, *map(repr, epochs_of_study(storage, study.study_id)), repr(Queue(storage, study.study_id).counts())]


@pytest.mark.parametrize("way", WAYS, ids="-".join)
def test_copy_says_all_that_the_study_said(way: tuple[str, str], new: NewDatabase) -> None:
    source, target = opened(new(way[0])), crowded(new(way[1]))
    study = full_study(source)
    content = copy_study(source, target, study.study_id, nothing)
    copied = find_study(target, study.name)
    assert [copied.attributes, copied.directions] == [study.attributes, study.directions]
    unsigned = [line.replace("(4, -0.0)", "(4, 0.0)") for line in said(source, study.name)]
    assert [line.replace("(4, -0.0)", "(4, 0.0)") for line in said(target, study.name)] == unsigned
    assert read(copied)[0].scores == (0.3, 0.1 + 0.2)
    assert Queue(target, copied.study_id).counts().waiting == 4
    assert content == content_of(target, copied.study_id) == content_of(source, study.study_id)
    of_optuna = optuna.load_study(study_name=study.name, storage=target)
    ids = [each._trial_id for each in of_optuna.trials]
    notes = [optuna_dashboard.get_note(optuna.Trial(of_optuna, trial_id)) for trial_id in ids[:3]]
    assert notes == ["of trial 0", "of trial 1", ""]
    assert ids != [each._trial_id for each in source.get_all_trials(study.study_id)]


def test_every_table_of_studies_and_trials_is_copied_but_those_of_who_works_on_them() -> None:
    tables = [*models.BaseModel.metadata.sorted_tables, *schema.metadata.sorted_tables]
    belongs = {table.name for table in tables if {"study_id", "trial_id"} & set(table.c.keys())}
    copied = {"studies", *(part.table.name for part in PARTS)}
    assert belongs - copied == {"alexsearch_slots", "trial_heartbeats"}


def test_there_and_back_is_the_same(new: NewDatabase) -> None:
    first, middle, last = opened(new("sqlite")), opened(new("postgres")), opened(new("sqlite"))
    study = full_study(first)
    there = copy_study(first, middle, study.study_id, nothing)
    back = copy_study(middle, last, find_study(middle, study.name).study_id, nothing)
    assert there.digest == back.digest
    assert back.told_from(content_of(first, study.study_id)) == []


def test_copy_goes_on(new: NewDatabase) -> None:
    source, target = opened(new("sqlite")), crowded(new("postgres"))
    copy_study(source, target, full_study(source).study_id, nothing)
    study = find_study(target, "small")
    queue = Queue(target, study.study_id, study.attributes["uid"])
    queue.begin()
    slot = queue.join("cpu")
    taken = queue.take(slot)
    assert taken is not None
    assert taken.number == 6  # what somebody had given values
    assert queue.record_epoch(slot, taken.trial_id, {"epoch": 1, "seconds": 1.0, "rmse": 0.5}, 0.0, "rmse")
    assert queue.fill(9) == 2


def test_trials_that_a_genetic_sampler_remembers_by_their_ids_are_the_same_ones(new: NewDatabase) -> None:
    source, target = opened(new("sqlite")), crowded(new("postgres"))
    sampler = optuna.samplers.NSGAIISampler(population_size=2, seed=1)
    study = optuna.create_study(storage=source, study_name="theirs", sampler=sampler)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=6)
    copy_study(source, target, study._study_id, nothing)
    copied = optuna.load_study(study_name="theirs", storage=target)
    before, after = (
        [[trial.number for trial in sampler.get_parent_population(each, generation)] for generation in (1, 2)]
        for each in (study, copied)
    )
    assert before == after
    assert all(len(each) == 2 for each in after)


def test_artifacts_are_found_under_the_same_ids(new: NewDatabase, tmp_path: Path) -> None:
    source, target = opened(new("sqlite")), crowded(new("postgres"))
    study = make_study(source, 0.4)
    copy_study(source, target, study.study_id, nothing)
    trial = source.get_all_trials(study.study_id)[0]
    names = [key.removeprefix(PREFIX) for key in trial.system_attrs if key.startswith(PREFIX)]
    here, there = (Artifacts(each, tmp_path / each.engine.name) for each in (source, target))
    contents = [[store.open_reader(name).read() for name in names] for store in (here, there)]
    assert contents[0] == contents[1]
    assert len(contents[0]) == 2


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    numbers=st.lists(st.floats(), min_size=1, max_size=8),
    texts=st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40),
        st.recursive(st.none() | st.booleans() | st.integers() | st.text() | st.floats(), st.lists, max_leaves=4),
        max_size=4,
    ),
)
def test_any_numbers_and_texts_come_through(
    numbers: list[float], texts: dict[str, Any], two: tuple[Storage, Storage]
) -> None:
    source, target = two
    study = optuna.create_study(storage=source)
    trial = study.ask()
    for step, number in enumerate(numbers):
        trial.report(number, step)
    for key, value in texts.items():
        trial.set_user_attr(key, value)
    copy_study(source, target, study._study_id, nothing)
    was, now = (optuna.load_study(study_name=study.study_name, storage=each).trials[0] for each in two)
    assert repr(now.user_attrs) == repr(was.user_attrs)
    assert repr(list(now.intermediate_values.values())) == repr(list(was.intermediate_values.values()))


@pytest.fixture(scope="module")
def two(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Storage, Storage]:
    return opened(f"sqlite:///{tmp_path_factory.mktemp('two') / 'a.db'}"), opened(new_database(postgres_server))


# ---- what goes wrong in the middle


def _die_at(source: str, target: str, statement: str) -> None:
    here, there = open_storage(source), open_storage(target)

    def look(_connection: Any, _cursor: Any, text: str, *_: Any) -> None:
        if text.strip().startswith(statement):
            os.kill(os.getpid(), signal.SIGKILL)

    def at_end(_connection: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    if statement == "COMMIT":
        sa.event.listen(there.engine, "commit", at_end)
    else:
        sa.event.listen(there.engine, "before_cursor_execute", look)
    copy_study(here, there, 1, nothing)


@pytest.mark.parametrize(
    ("kind", "statement"),
    [
        ("postgres", "INSERT INTO alexsearch_epochs"),
        pytest.param("sqlite", "INSERT INTO alexsearch_epochs", marks=pytest.mark.slow),
        pytest.param("postgres", "COMMIT", marks=pytest.mark.slow),
        pytest.param("sqlite", "COMMIT", marks=pytest.mark.slow),
    ],
)
def test_killed_in_the_middle_it_leaves_nothing_and_typed_again_it_is_done(
    kind: str, statement: str, new: NewDatabase
) -> None:
    urls = new("sqlite"), new(kind)
    source = opened(urls[0])
    full_study(source)
    open_storage(urls[1]).engine.dispose()
    worker = multiprocessing.get_context("spawn").Process(target=_die_at, args=(*urls, statement))
    worker.start()
    worker.join(60)
    assert worker.exitcode == -signal.SIGKILL
    target = open_storage(urls[1])
    assert all_studies(target) == []
    trials = target.read(lambda session: session.scalar(sa.select(sa.func.count()).select_from(TRIALS)))
    assert trials == 0
    assert "is copied" in typed(*urls).stdout
    assert "nothing was left to do" in typed(*urls).stdout


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS[:2], ids="-".join)
def test_postgres_that_restarts_in_the_middle_is_waited_for_on_either_side(
    way: tuple[str, str], tmp_path: Path
) -> None:
    server = PostgresServer(tmp_path / "server")
    urls = {"sqlite": f"sqlite:///{tmp_path / 'study.db'}", "postgres": server.database()}
    source, target = (opened(urls[kind]) for kind in way)
    study, restarts = full_study(source), [server.stop, server.start]

    def restart(done: int, _total: int) -> None:
        while done > 20 and restarts:
            restarts.pop(0)()

    copy_study(source, target, study.study_id, restart)
    assert not restarts
    assert content_of(source, study.study_id) == content_of(target, find_study(target, study.name).study_id)
    server.stop()


@pytest.mark.parametrize("way", WAYS[:2], ids="-".join)
def test_study_that_changes_while_it_is_copied_is_not_kept(way: tuple[str, str], new: NewDatabase) -> None:
    source, target = opened(new(way[0])), opened(new(way[1]))
    study, other = make_study(source, 0.4), opened(source.safe_url.render_as_string(hide_password=False))
    trial = source.get_all_trials(study.study_id)[0]

    def meddle(done: int, total: int) -> None:
        if done == total:
            optuna.load_study(study_name=study.name, storage=other).enqueue_trial({"learning_rate": 0.5})

    with pytest.raises(CopyError, match=r"study 'small' differs from its copy: trials: 5 and 4.*keeps nothing of it"):
        migrate(source, target, study, meddle)
    assert all_studies(target) == []
    copy_study(source, target, study.study_id, nothing)
    assert said(target, study.name) == said(source, study.name)
    assert trial.number == 0


@pytest.mark.parametrize(("key", "told"), [("k" * 600, "too long"), ("a\0b", "NUL")])
def test_what_postgres_can_not_keep_is_said_and_nothing_is_kept(key: str, told: str, new: NewDatabase) -> None:
    source, target = opened(new("sqlite")), opened(new("postgres"))
    study = make_study(source, 0.4)
    source.set_study_user_attr(study.study_id, key, 1)
    with pytest.raises(CopyError, match=rf"study 'small' has something that can't be kept there \(.*{told}"):
        migrate(source, target, study, nothing)
    assert all_studies(target) == []


# ---- as it is typed


def typed(source: str, target: str, *words: str, code: int = 0) -> Result:
    return alexsearch("migrate", "--from", source, "--to", target, *words, code=code)


def alexsearch(*words: str, code: int = 0) -> Result:
    done = CliRunner().invoke(main, list(words))
    assert isinstance(done.exception, SystemExit | None), done.exc_info
    assert done.exit_code == code, done.output
    return done


def test_all_studies_go_unless_some_are_named_and_a_second_time_finds_them(new: NewDatabase) -> None:
    urls = new("sqlite"), new("postgres")
    source = opened(urls[0])
    make_study(source, 0.4)
    make_study(source, 0.5, name="other")
    make_foreign(source, "theirs", (1.0, math.inf), directions=["minimize", "maximize"])
    first = typed(*urls, "--study", "small").stdout
    assert first.count("is copied") == 1
    digest = content_of(source, find_study(source, "small").study_id).digest
    assert f"study small is copied: 4 trials, 3 epochs and 20 other rows, sha256 {digest}, the same in both" in first
    second = typed(*urls).stdout
    assert "study small is there already, the same: 4 trials" in second
    assert second.count("is copied") == 2
    assert {each.name for each in all_studies(opened(urls[1]))} == {"small", "other", "theirs"}
    assert "nothing was left to do" in typed(*urls).stdout


def test_worker_at_work_is_named_and_a_dead_ones_trial_goes_back_into_the_queue(new: NewDatabase) -> None:
    urls = new("sqlite"), new("postgres")
    source = opened(urls[0])
    study = make_own_study(source)
    refused = typed(*urls, code=2).stderr
    assert f"study 'own': at work on it: process {os.getpid()} on" in refused
    assert "(trial 5)" in refused
    assert "alexsearch stop --now --study NAME" in refused
    source.transaction(lambda session: session.execute(sa.update(schema.SLOTS).values(process_started=1.0)))
    typed(*urls)
    for url in urls:
        counts = Queue(opened(url), find_study(opened(url), "own").study_id).counts()
        assert (counts.running, counts.waiting, counts.retried) == (0, 2, 1)
    assert content_of(source, study.study_id).counts["trials"] == 7


def test_running_trial_of_another_program_is_copied_and_said(new: NewDatabase) -> None:
    urls = new("sqlite"), new("sqlite")
    optuna.create_study(study_name="theirs", storage=opened(urls[0])).ask()
    assert "study theirs: 1 running trial of another program" in typed(*urls).stdout
    assert find_study(opened(urls[1]), "theirs").name == "theirs"


def test_another_study_of_the_name_is_refused_and_nothing_is_copied(new: NewDatabase) -> None:
    urls = new("sqlite"), new("sqlite")
    source, target = opened(urls[0]), opened(urls[1])
    for name in ("one", "small"):
        make_study(source, 0.4, name=name)
    make_study(target, 0.5)
    refused = typed(*urls, code=2).stderr
    assert "study 'small':" in refused
    assert "has another one of that name" in refused
    assert [each.name for each in all_studies(target)] == ["small"]
    typed(*urls, "--study", "one")


def test_copy_that_went_on_is_left_alone_and_what_differs_is_said(new: NewDatabase) -> None:
    urls = new("sqlite"), new("sqlite")
    make_study(opened(urls[0]), 0.4)
    typed(*urls)
    target = opened(urls[1])
    study = find_study(target, "small")
    Queue(target, study.study_id).fill(6)
    assert "one of the two has changed since: trials: 4 and 6. Nothing" in typed(*urls, code=1).stderr
    assert Queue(target, study.study_id).counts().budget == 6


def test_the_database_itself_and_studies_that_are_not_there_are_refused(new: NewDatabase, tmp_path: Path) -> None:
    url, missing = new("sqlite"), tmp_path / "no.db"
    make_study(opened(url), 0.4)
    (tmp_path / "link.db").symlink_to(url.removeprefix("sqlite:///"))
    assert "is the database that the studies are in" in typed(url, f"sqlite:///{tmp_path / 'link.db'}", code=2).stderr
    assert "'nope' is not in" in typed(url, f"sqlite:///{missing}", "--study", "nope", code=2).stderr
    assert "there is no study yet" in typed(f"sqlite:///{missing}", url, code=2).stderr
    assert not missing.exists()


def test_original_is_deleted_without_the_files_that_the_copy_finds(new: NewDatabase, tmp_path: Path) -> None:
    home, urls = Home(tmp_path / "home"), (new("sqlite"), new("sqlite"))
    source = opened(urls[0])
    study = make_study(source, 0.4)
    checkpoint = home.checkpoints(study.folder, study.attributes["uid"], 1) / "epoch-1.npz"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"hours")
    artifact = next(key for key in source.get_all_trials(study.study_id)[0].system_attrs if key.startswith(PREFIX))
    Artifacts(source, home.artifacts).write(artifact.removeprefix(PREFIX), io.BytesIO(b"picture"))
    typed(*urls)
    where = ("--home", str(home.folder), "--storage", urls[0])
    told = alexsearch("delete", "--study", "small", "--yes", "--keep-files", *where).stdout
    assert "  with " not in told
    assert all_studies(source) == []
    assert checkpoint.exists()
    assert Artifacts(opened(urls[1]), home.artifacts).open_reader(artifact.removeprefix(PREFIX)).read() == b"picture"


@pytest.mark.slow
def test_password_of_either_side_comes_from_a_file_and_is_printed_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = PostgresServer(tmp_path / "server")
    server.require_passwords("me", "p@ss-word")
    here, there, third = (server.database(tcp=True).replace("postgres@/", "me@/") for _ in range(3))
    for url in (here, there, third):
        name = url.partition("@/")[2].partition("?")[0]
        server.ask(f'SELECT 1; ALTER DATABASE "{name}" OWNER TO me')
    kept = f"sqlite:///{tmp_path / 'kept.db'}"
    make_study(opened(kept), 0.4)
    (tmp_path / "password").write_text("p@ss-word\n")
    (tmp_path / "password").chmod(0o600)
    monkeypatch.setenv("ALEXSEARCH_STORAGE_PASSWORD_FILE", str(tmp_path / "password"))
    typed(kept, here)
    monkeypatch.setenv("ALEXSEARCH_MIGRATE_TO_PASSWORD_FILE", str(tmp_path / "password"))
    typed(here, there)
    for name in ("ALEXSEARCH_STORAGE_PASSWORD_FILE", "ALEXSEARCH_MIGRATE_TO_PASSWORD_FILE"):
        monkeypatch.delenv(name)
    (tmp_path / "pgpass").write_text("*:*:*:me:p@ss-word\n")
    (tmp_path / "pgpass").chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "pgpass"))
    typed(there, third)
    monkeypatch.setenv("ALEXSEARCH_MIGRATE_TO", third.replace("me@/", "me:p@ss-word@/"))
    assert "p@ss" not in alexsearch("migrate", "--storage", there).output
    warned = typed(there, third.replace("me@/", "me:p@ss-word@/")).stderr
    assert "--to carries a password" in warned
    assert "Put the URL into ALEXSEARCH_MIGRATE_TO instead" in warned
    server.stop()
