"""What somebody else wrote into the database: it is shown as odd, and all else as ever.

Each of these rows was written by hand into the study `odd`, which lies beside the sound one `small`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from click.testing import CliRunner
from optuna.trial import TrialState
from study_maker import make_study
from test_dashboard import LOCAL, request

from search.cli.main import main
from search.screen.serving import recipe_text
from studies.record.catalog import StudyRecord, all_studies, find_study
from studies.record.retrained import record, summarised
from studies.show.dashboard import build_app
from studies.show.notes import refresh_notes
from studies.store.opening import open_storage
from studies.store.shapes import DEEPEST, decoded, sound
from studies.store.storage import Storage

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

DEEP = "[" * 400 + "]" * 400
HUGE = "x" * 1_000_000
BEST, LAST = 1, 0
"""Numbers of the complete trials of a study"""


def of_study(key: str, value: Any) -> list[str]:
    """The statements that set a user attribute of the study; a `str` is the JSON itself."""
    text = value if isinstance(value, str) else json.dumps(value)
    return [
        f"DELETE FROM study_user_attributes WHERE study_id = {{study}} AND key = '{key}'",
        f"INSERT INTO study_user_attributes (study_id, key, value_json) VALUES ({{study}}, '{key}', '{text}')",
    ]


def of_trial(key: str, value: Any, table: str = "trial_user_attributes") -> list[str]:
    """The same of all its trials."""
    text = value if isinstance(value, str) else json.dumps(value)
    return [
        f"DELETE FROM {table} WHERE key = '{key}' AND trial_id IN ({{trials}})",
        f"INSERT INTO {table} (trial_id, key, value_json) SELECT trial_id, '{key}', '{text}' FROM trials "
        "WHERE study_id = {study}",
    ]


def system(key: str, value: Any) -> list[str]:
    return of_trial(key, value, "trial_system_attributes")


TAMPERED: dict[str, list[str]] = {
    "space is a text": of_study("space", '"cnn-v2"'),
    "space is null": of_study("space", None),
    "space is a list": of_study("space", [1, 2]),
    "space has a text for a table": of_study("space", {"space": {"batch_size": 32}, "data": "cifar10"}),
    "space has a range without an end": of_study("space", {"space": {"learning_rate": {"low": "a"}}}),
    "space has choices that are none": of_study("space", {"space": {"batch_size": {"choices": 7}}}),
    "space is nested deep": of_study("space", DEEP),
    "space is no JSON": of_study("space", "{cut"),
    "data is a number": of_study("data", 7),
    "data has texts for counts": of_study("data", {"source": "s", "fingerprint": "f", "train_images": "many"}),
    "data is gone": ["DELETE FROM study_user_attributes WHERE study_id = {study} AND key = 'data'"],
    "uid is a path": of_study("uid", "../../../tmp"),
    "uid is a number": of_study("uid", 7),
    "folder leads out of the home": of_study("folder", '"../../x"'),
    "folder is a number": of_study("folder", 7),
    "retrained is a text": of_study("retrained", '"well"'),
    "retrained has a hostile record": of_study("retrained", {"1": {"trial": "x", "folder": "javascript:alert(1)"}}),
    "verified is a list": of_study("verified", [None]),
    "directions are gone": ["DELETE FROM study_directions WHERE study_id = {study}"],
    "config is a text": of_trial("config", '"resnet"'),
    "config has a text for epochs": of_trial("config", {"epochs": "ten", "batch_size": None}),
    "config lacks the rest": of_trial("config", {"epochs": 3}),
    "config is nested deep": of_trial("config", DEEP),
    "seconds is a text": of_trial("seconds", '"long"'),
    "seconds is not a number": of_trial("seconds", "NaN"),
    "seconds is infinite": of_trial("seconds", "Infinity"),
    "seconds is negative": of_trial("seconds", -5),
    "epochs run is a text": of_trial("epochs_run", '"three"'),
    "epochs run is negative": of_trial("epochs_run", -3),
    "versions is a text": of_trial("versions", '"3.11"'),
    "device is a table": of_trial("device", {"name": ["cpu"]}),
    "failure is a list": of_trial("failure", [1]),
    "reason is huge": of_trial("reason", json.dumps(HUGE)),
    "crashes is a text": of_trial("crashes", '"many"'),
    "audit is a number": of_trial("audit", 7),
    "audit has a text": of_trial("audit", {"value": "good", "epochs": None}),
    "attempts is a text": system("alexsearch:attempts", '"twice"'),
    "fixed params are a list": system("fixed_params", [1, 2]),
    "an attribute of a number of 5,000 digits": of_trial("count", "9" * 5000),
    "params are gone": ["DELETE FROM trial_params WHERE trial_id IN ({trials})"],
    "a parameter of an unknown kind": ["UPDATE trial_params SET distribution_json = '{}' WHERE trial_id IN ({trials})"],
    "a parameter is a text": ["UPDATE trial_params SET param_value = 'high' WHERE trial_id IN ({trials})"],
    "epochs are gone": ["DELETE FROM alexsearch_epochs WHERE trial_id IN ({trials})"],
    "an epoch is missing": ["DELETE FROM alexsearch_epochs WHERE epoch = 2 AND trial_id IN ({trials})"],
    "epochs are negative": ["UPDATE alexsearch_epochs SET epoch = -epoch WHERE trial_id IN ({trials})"],
    "epochs hold texts": [
        "UPDATE alexsearch_epochs SET val_accuracy = 'x', seconds = 'y' WHERE trial_id IN ({trials})"
    ],
    "epochs took for ever": ["UPDATE alexsearch_epochs SET seconds = 9e999 WHERE trial_id IN ({trials})"],
    "accuracy is out of range": ["UPDATE alexsearch_epochs SET val_accuracy = -1e300 WHERE trial_id IN ({trials})"],
    "a state that there is not": ["UPDATE trials SET state = 'BOGUS' WHERE number = 1 AND study_id = {study}"],
    "values are gone": ["DELETE FROM trial_values WHERE trial_id IN ({trials})"],
    "a value is a text": ["UPDATE trial_values SET value = 'good' WHERE trial_id IN ({trials})"],
    "a value is out of range": ["UPDATE trial_values SET value = 1e300 WHERE trial_id IN ({trials})"],
    "two values of one objective": [
        "INSERT INTO trial_values (trial_id, objective, value, value_type) SELECT trial_id, 1, 0.5, 'FINITE' "
        "FROM trials WHERE study_id = {study}"
    ],
    "reports hold texts": [
        "UPDATE trial_intermediate_values SET intermediate_value = 'x' WHERE trial_id IN ({trials})"
    ],
    "times are no dates": [
        "UPDATE trials SET datetime_start = 'soon', datetime_complete = 8.5 WHERE study_id = {study}"
    ],
    "times at the end of time": [
        "UPDATE trials SET datetime_start = '0001-01-01 00:00:00', datetime_complete = '9999-12-31 23:59:59' "
        "WHERE study_id = {study}"
    ],
    "a number is gone": ["UPDATE trials SET number = NULL WHERE number = 1 AND study_id = {study}"],
    "a number is a text": ["UPDATE trials SET number = 'one' WHERE number = 1 AND study_id = {study}"],
    "two of one number": ["UPDATE trials SET number = 1 WHERE number = 0 AND study_id = {study}"],
    "a direction that there is not": ["UPDATE study_directions SET direction = 'SIDEWAYS' WHERE study_id = {study}"],
    "a direction too many": [
        "INSERT INTO study_directions (direction, study_id, objective) VALUES ('MINIMIZE', {study}, 1)"
    ],
    "a distribution that is no JSON": [
        "UPDATE trial_params SET distribution_json = 'nonsense' WHERE trial_id IN ({trials})"
    ],
    "values are infinite": ["UPDATE trial_values SET value = 9e999 WHERE trial_id IN ({trials})"],
    "times are gone": ["UPDATE trials SET datetime_start = NULL, datetime_complete = NULL WHERE study_id = {study}"],
    "a stop that there is not": [
        "INSERT INTO study_system_attributes (study_id, key, value_json) VALUES ({study}, 'alexsearch:stop', '[1]')"
    ],
    "a slot holds texts": [
        "INSERT INTO alexsearch_slots (slot_id, study_id, host, machine, pid, process_started, device, epoch, "
        "images_per_second, beats, beat_at) VALUES ('s', {study}, 'h', 'm', 1, 0, 'd', 'x', 'fast', 0, 'now')"
    ],
    "limits are a text": [
        "INSERT INTO study_system_attributes (study_id, key, value_json) "
        "VALUES ({study}, 'alexsearch:limits', '\"low\"')"
    ],
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def storage(home: Path) -> Iterator[Storage]:
    opened = open_storage(f"sqlite:///{home / 'alexsearch.db'}")
    yield opened
    opened.engine.dispose()


ONE_OF_A_KIND = (
    "times are no dates",
    "space is a text",
    "uid is a path",
    "config is a text",
    "epochs hold texts",
    "a value is a text",
)
EACH = pytest.mark.parametrize(
    "statements",
    [
        pytest.param(statements, id=name, marks=() if name in ONE_OF_A_KIND else pytest.mark.slow)
        for name, statements in TAMPERED.items()
    ],
)


def tamper(storage: Storage, statements: list[str]) -> StudyRecord:
    """The study `odd`, beside a sound one, after these statements."""
    make_study(storage, 0.4, 0.6, TrialState.PRUNED, TrialState.FAIL, trials=5)
    study = make_study(storage, 0.4, 0.6, TrialState.PRUNED, TrialState.FAIL, name="odd", trials=5)
    scores = {1: 0.5, 2: 0.55}
    record(
        storage, study, summarised(trial=1, searched=0.6, split="test", scores=scores, images=9, finished="2026-01-31")
    )
    trials = f"SELECT trial_id FROM trials WHERE study_id = {study.study_id}"
    with storage.engine.begin() as connection:
        for statement in statements:
            filled = statement.replace("{study}", str(study.study_id)).replace("{trials}", trials)
            done = connection.exec_driver_sql(filled)
            assert done.rowcount != 0 or filled.startswith("DELETE")
    return next(each for each in all_studies(storage) if each.name == "odd")


def application(storage: Storage) -> WSGIApplication:
    return build_app(storage, hosts=LOCAL, recipe=recipe_text(storage), allow_edits=True)


@EACH
def test_page_of_a_tampered_study_is_a_page_and_of_a_sound_one_as_ever(storage: Storage, statements: list[str]) -> None:
    study = tamper(storage, statements)
    app = application(storage)
    _, _, body = request(app, "/")
    assert b"searches learning_rate" in body  # of the sound one
    for page in ("", "/best", "/compare?trial=0&trial=1&trial=2", *(f"/trials/{number}" for number in range(5))):
        for query in ("", "?order=best&state=complete") if not page else ("",):
            status, _, body = request(app, f"/studies/{study.study_id}{page}{query}")
            assert status in (200, 404), (page, body[:500])
            assert len(body) < 400_000
            assert b"javascript:" not in body
    status, _, _ = request(app, f"/studies/{study.study_id}/trials/1/recipe")
    assert status in (200, 404)
    for address in ("", "?after=0", "/param_importances", "/plot/slice", "/plot/timeline"):
        assert request(app, f"/api/studies/{study.study_id}{address}")[0] < 500, address
    assert request(app, f"/csv/{study.study_id}")[0] < 500
    assert request(app, "/api/studies")[0] == 200
    sound_one = find_study(storage, "small")
    assert request(app, f"/studies/{sound_one.study_id}")[0] == 200
    refresh_notes(storage, study)


COMMANDS = {
    "status": ("status",),
    "status --json": ("status", "--json"),
    "best": ("best",),
    "best --json": ("best", "--json"),
    "export": ("export", "-o", "-"),
    "export --trial 2": ("export", "--trial", "2", "-o", "-"),
    "report": ("report", "-o", "report.html"),
    "replay": ("replay", "--trial", "1", "--data", "missing.npz"),
    "audit": ("audit", "1", "--data", "missing.npz"),
}


@EACH
def test_commands_say_what_is_odd_without_a_traceback(
    home: Path, storage: Storage, statements: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    tamper(storage, statements)
    for name, command in COMMANDS.items():
        result = CliRunner().invoke(main, [*command, "--study", "odd", "--home", str(home)])
        assert result.exception is None or isinstance(result.exception, SystemExit), (name, result.exc_info)
        assert result.exit_code in (0, 1, 2), (name, result.output)
        if result.exit_code:
            assert 1 <= len(result.stderr.strip().splitlines()) <= 3, (name, result.output)
            assert len(result.stderr) < 1500
    listed = CliRunner().invoke(main, ["studies", "--home", str(home)])
    assert (listed.exit_code, "small" in listed.output, "odd" in listed.output) == (0, True, True)
    sound_one = CliRunner().invoke(main, ["export", "-o", "-", "--study", "small", "--home", str(home)])
    assert (sound_one.exit_code, "[config]" in sound_one.output) == (0, True)


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("space is a text", "space"),
        ("uid is a path", "uid"),
        ("data is gone", "data"),
        ("folder leads out of the home", "folder"),
        ("folder is a number", "folder"),
    ],
)
def test_odd_study_is_called_so(home: Path, storage: Storage, name: str, changed: str) -> None:
    study = tamper(storage, TAMPERED[name])
    assert (study.is_ours, study.odd, study.origin) == (False, changed, f"odd: another program changed its {changed}")
    _, _, body = request(application(storage), "/")
    assert study.origin.encode() in body
    for command in (["status", "--study", "odd"], ["studies"]):
        assert study.origin in CliRunner().invoke(main, [*command, "--home", str(home)]).output.replace("\n", " ")
    document = json.loads(CliRunner().invoke(main, ["status", "--study", "odd", "--json", "--home", str(home)]).output)
    assert (document["ours"], document["odd"]) == (False, study.origin)
    result = CliRunner().invoke(main, ["report", "--study", "odd", "--home", str(home)])
    assert result.exit_code == 2
    assert study.folder == "odd"
    result = CliRunner().invoke(main, ["worker", "--study", "odd", "--home", str(home)])
    assert (result.exit_code, f"is {study.origin}" in result.output) == (2, True)


def test_attributes_of_another_shape_are_left_out_and_named(storage: Storage) -> None:
    tamper(storage, [*TAMPERED["config is a text"], *TAMPERED["seconds is negative"], *of_trial("mine", [1])])
    study = find_study(storage, "odd")
    assert study.is_ours
    for trial in (
        *storage.get_all_trials(study.study_id),
        storage.get_trial(storage.get_all_trials(study.study_id)[1]._trial_id),
    ):
        assert trial.user_attrs["odd"] == "config, seconds"
        assert trial.user_attrs["mine"] == [1]
        assert not {"config", "seconds"} & trial.user_attrs.keys()


def test_what_another_program_keeps_under_the_same_names_stays(storage: Storage) -> None:
    theirs = optuna.create_study(study_name="theirs", storage=storage)
    theirs.add_trial(optuna.trial.create_trial(value=1.0, user_attrs={"config": "model.yaml", "seconds": "long"}))
    (trial,) = storage.get_all_trials(theirs._study_id)
    assert trial.user_attrs == {"config": "model.yaml", "seconds": "long"}


def test_attribute_is_read_as_deep_as_a_page_can_show_it() -> None:
    assert decoded("[" * DEEPEST + "]" * DEEPEST)
    assert decoded(json.dumps("[" * 1000)) == "[" * 1000  # brackets in a text are none
    for text in ("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), "1" * 5000, json.dumps("x" * 5_000_000), "{"):
        with pytest.raises(ValueError):  # noqa: PT011 - json's own words
            decoded(text)
    assert math.isnan(decoded("NaN"))
    assert sound({"a": 1}, {"a": lambda value: value == 1}) == {"a": 1}
