"""The command line as people and scripts meet it: exit codes, what goes to which stream, what help promises.

Studies are made without training; whole runs with real training are in test_run.py.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from optuna.trial import TrialState
from postgres_server import PostgresServer
from study_maker import make_foreign, make_study

import search.run.host
from search.cli.main import main
from search.run.request import RunError, RunOutcome, RunRequest
from search.run.stopping import Stopping
from studies.queue.queue import Queue
from studies.record.catalog import all_studies
from studies.store.errors import StorageError
from studies.store.opening import open_storage

COMMANDS = sorted(main.commands)
HEAVY = ("tensorflow", "keras", "sklearn", "matplotlib", "plotly", "PIL", "optuna_dashboard", "waitress")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the machine plays in, and what is written by mistake is written to an empty folder."""
    for name in [name for name in os.environ if name.startswith("ALEXSEARCH")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def study(home: Path) -> Path:
    """The home of a study with a best trial, a pruned and a failed one, and one that waits."""
    home.mkdir()
    make_study(
        open_storage(f"sqlite:///{home / 'alexsearch.db'}"), 0.4, 0.6, TrialState.PRUNED, TrialState.FAIL, trials=5
    )
    return home


def run(*arguments: object, code: int = 0, **environment: str) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], env=environment)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == code, result.output
    if code == 2:
        assert result.stderr
        assert "Traceback" not in result.output
    return result


def process(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "search.cli.main", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, env={**os.environ, **environment}, check=False
    )


# What help promises


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_a_summary_an_example_and_every_option_explained(name: str) -> None:
    text = run(name, "--help").stdout
    assert re.search(rf"^  alexsearch {name}\b", text, re.M), "no example"
    command = main.commands[name]
    assert not command.get_short_help_str(limit=70).endswith("..."), "the summary is cut in the list of commands"
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter
            must_say = not (parameter.is_flag or parameter.required or parameter.multiple or parameter.name == "add")
            assert not must_say or parameter.show_default, f"{parameter.name} does not say its default"
            assert not parameter.envvar or str(parameter.envvar) in text


def test_environment_stands_in_for_home_storage_and_data() -> None:
    text = run("run", "--help").stdout
    for variable in ("ALEXSEARCH_HOME", "ALEXSEARCH_STORAGE", "ALEXSEARCH_DATA"):
        assert f"env var: {variable}" in " ".join(text.split())


def documented_keys(command: str) -> set[str]:
    """The top-level keys that a command's help names: the list after "JSON keys:", without what is in brackets."""
    text = " ".join((main.commands[command].help or "").split("\n\n")[1].split())
    assert text.startswith("JSON keys: ")
    listed = re.sub(r" ?\([^)]*\)", "", text.removeprefix("JSON keys: "))
    return set(listed.rstrip(".").split(", "))


@pytest.mark.parametrize("command", ["status", "best"])
def test_json_keys_are_those_that_help_documents(study: Path, command: str) -> None:
    document = json.loads(run(command, "--home", study, "--json").stdout)
    assert set(document) == documented_keys(command)


def test_json_of_studies_has_the_keys_that_help_documents(study: Path) -> None:
    (document,) = json.loads(run("studies", "--home", study, "--json").stdout)
    assert set(document) == documented_keys("studies")
    status = json.loads(run("status", "--home", study, "--json").stdout)
    assert document == {key: status[key] for key in document}


def test_nested_json_keys_are_those_that_help_documents(study: Path) -> None:
    queue = Queue(open_storage(f"sqlite:///{study / 'alexsearch.db'}"), 1)
    queue.take(queue.join("cpu"))
    document = json.loads(run("status", "--home", study, "--json").stdout)
    text = " ".join((main.commands["status"].help or "").split())
    for key in ("counts", "best", "slots", "failures", "cost"):
        (listed,) = re.findall(rf"{key} \(([^)]*)\)", text)
        inside = document[key][0] if isinstance(document[key], list) else document[key]
        assert set(inside) == set(re.split(r", ", listed.partition(";")[0])), key


def test_failed_trials_are_put_back_by_number_or_all(study: Path) -> None:
    failed = run("retry", "--home", study, "--trial", 0, code=2)
    assert "trial 0 is complete, or has not ended. Failed: 3; paused or pruned: 2." in failed.stderr
    assert "say which: --failed" in run("retry", "--home", study, code=2).stderr
    assert "say which: --failed" in run("retry", "--home", study, "--failed", "--trial", 3, code=2).stderr
    done = run("retry", "--home", study, "--trial", 3).stdout
    assert "study small: trial 3 waits again: 3 of 5 settled: 2 complete, 1 pruned; 1 paused, 1 waiting" in done
    assert f"alexsearch worker --study small --home {study}" in done
    assert "no trial has failed" in run("retry", "--home", study, "--failed").stdout


def test_pruned_trial_is_put_back_to_be_trained_to_its_end(study: Path) -> None:
    done = run("retry", "--home", study, "--trial", 2).stdout
    assert "study small: trial 2 waits again, to be trained to its end: " in done
    queue = Queue(open_storage(f"sqlite:///{study / 'alexsearch.db'}"), 1)
    taken = queue.take(queue.join("cpu"))
    assert taken is not None
    assert (taken.number, taken.to_its_end) == (2, True)


# What is wrong with an input is said once, on standard error, with exit code 2


@pytest.mark.parametrize("command", ["status", "best", "studies", "export", "dashboard", "worker", "stop"])
def test_no_study_yet_says_how_to_start_one(command: str, home: Path) -> None:
    output = ["-o", "best.toml"] if command == "export" else []
    result = run(command, "--home", home, *output, code=2)
    assert result.stdout == ""
    assert "alexsearch run quick" in result.stderr
    assert not home.exists()


@pytest.mark.parametrize("command", ["status", "best", "worker", "stop"])
def test_empty_database_says_how_to_start_a_study(command: str, home: Path) -> None:
    open_storage(f"sqlite:///{home / 'alexsearch.db'}")
    assert "Start one with `alexsearch run quick`" in run(command, "--home", home, code=2).stderr


def test_empty_database_has_an_empty_list_of_studies(home: Path) -> None:
    open_storage(f"sqlite:///{home / 'alexsearch.db'}")
    assert json.loads(run("studies", "--home", home, "--json").stdout) == []
    assert "alexsearch run quick" in run("studies", "--home", home).stdout


@pytest.mark.parametrize("command", ["status", "best", "studies"])
def test_json_error_leaves_standard_output_empty(command: str, home: Path) -> None:
    home.mkdir()
    (home / "alexsearch.db").write_bytes(os.urandom(5000))
    result = run(command, "--home", home, "--json", code=2)
    assert result.stdout == ""
    assert "no SQLite database" in result.stderr


@pytest.mark.parametrize("command", ["status", "best", "export", "dashboard", "worker", "stop"])
def test_unknown_study_names_those_there_are(command: str, study: Path) -> None:
    output = ["-o", "best.toml"] if command == "export" else []
    result = run(command, "--home", study, "--study", "nope", *output, code=2)
    assert "There are: small." in result.stderr


@pytest.mark.parametrize("command", ["status", "best", "export", "worker", "stop"])
def test_several_studies_must_be_told_apart(command: str, study: Path) -> None:
    make_study(open_storage(f"sqlite:///{study / 'alexsearch.db'}"), name="other")
    output = ["-o", "best.toml"] if command == "export" else []
    assert "--study NAME: other, small." in run(command, "--home", study, *output, code=2).stderr


@pytest.mark.parametrize("command", ["worker", "stop"])
def test_another_programs_study_is_not_worked_on(command: str, home: Path) -> None:
    storage = open_storage(f"sqlite:///{home / 'alexsearch.db'}")
    make_foreign(storage, "theirs", (1.0,), directions=["minimize"])
    assert "was not made by alexsearch" in run(command, "--home", home, code=2).stderr
    assert storage.get_study_system_attrs(1) == {}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run"], "a preset (beyond, hour, quick, seed, wide) or a TOML file"),
        (["run", "quikc"], "Did you mean quick?"),
        (["run", "nothere.toml"], "there is no such file"),
        (["run", "quick", "--trials", "0"], "--trials: must be >= 1, but is 0"),
        (["run", "quick", "--seed", "-1"], "--seed: must be >= 0, but is -1"),
        (["run", "quick", "--study", "a/b"], "--study: must be letters"),
        (["run", "quick", "--workers", "0"], "--workers"),
        (["run", "quick", "--add", "0"], "--add"),
        (["status", "--watch", "--every", "nan"], "must be a finite number"),
        (["status", "--watch", "--every", "inf"], "--every"),
        (
            ["run", "quick", "--trials-per-gpu", "many"],
            'must be a number from 1, or auto, but is "many"',
        ),
        (["run", "quick", "--storage", "mysql://me:secret@host/x"], "'mysql' is not a kind of database we know"),
        (["run", "quick", "--storage", "nonsense"], "not a database URL"),
        (["retrain", "nothere.toml"], "there is no such file"),
        (["evaluate", "nothere.keras"], "there is no such file"),
        (["dashboard", "--port", "99999"], "--port"),
        (["nonsense"], "No such command"),
    ],
)
def test_wrong_input_ends_with_two_and_starts_nothing(arguments: list[str], said: str, tmp_path: Path) -> None:
    result = run(*arguments, code=2)
    assert said in " ".join(result.stderr.split())
    assert "secret" not in result.output
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_every_mistake_of_a_space_file_is_told_at_once(tmp_path: Path) -> None:
    Path("bad.toml").write_text(
        '[study]\nname = "bad"\ntrails = 3\n[space]\nbatch_size = 32\n'
        "learning_rate = { low = 0, high = 0.1, log = true }\nepochs = 0\n"
    )
    told = run("run", "bad.toml", code=2).stderr
    for said in ("Did you mean trials?", "low must be > 0 when log = true", "epochs must be >= 1, but is 0"):
        assert said in told
    assert [path.name for path in tmp_path.iterdir()] == ["bad.toml"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("host", "said"), [("no-such-host.invalid", "failed to resolve host"), ("127.0.0.1:1", "Connection refused")]
)
def test_database_that_is_not_there_is_told_in_a_line(host: str, said: str) -> None:
    told = run("status", code=2, ALEXSEARCH_STORAGE=f"postgresql://me@{host}/x").stderr
    waits, ended = told.splitlines()
    assert "waiting for storage" in waits
    assert said in ended


def test_wrong_password_or_missing_right_is_told_in_a_line_that_repeats_no_password(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path / "server")
    try:
        server.require_passwords("me", "right")
        url = server.database(tcp=True).replace("postgres@", "me@")
        told = run("status", code=2, ALEXSEARCH_STORAGE=url, PGPASSWORD="wrong-one").stderr
        without_rights = run("upgrade", code=2, ALEXSEARCH_STORAGE=url, PGPASSWORD="right").stderr
    finally:
        server.stop()
    assert "password authentication failed" in told
    assert "wrong-one" not in told
    assert "permission denied for schema public" in without_rights
    assert "GRANT ALL ON SCHEMA" in without_rights
    assert len(told.splitlines()) == len(without_rights.splitlines()) == 1


@pytest.mark.parametrize("command", [["run", "quick"], ["status"], ["retrain", "best.toml"], ["doctor"]])
def test_file_in_the_way_of_the_home_is_named(command: list[str]) -> None:
    Path("file").write_text("in the way")
    for place in ("file", "file/below"):
        result = run(*command, code=2, ALEXSEARCH_HOME=place)
        assert f"home {place}: a file is in the way, file." in result.stderr


def test_more_workers_than_memory_holds_are_refused_before_anything_starts(home: Path) -> None:
    result = run("run", "quick", "--home", home, "--workers", "9999", "--gpus", "none", "--data", "synthetic", code=2)
    assert "9999 workers on the CPU need about 11998.8 GB" in result.stderr
    assert not (home / "quick").exists()


@pytest.mark.slow
def test_password_on_the_command_line_is_warned_of_and_never_repeated(home: Path) -> None:
    result = run("status", "--storage", "postgresql://me:secret@127.0.0.1:1/x", "--home", home, code=2)
    assert "--storage carries a password" in result.stderr
    assert "secret" not in result.output


def test_recipe_from_a_later_version_is_refused(study: Path) -> None:
    run("export", "--home", study, "-o", "best.toml")
    later = Path("best.toml").read_text().replace("format_version = 1", "format_version = 99")
    Path("later.toml").write_text(later)
    assert "Update alexsearch" in run("retrain", "later.toml", "--home", study, code=2).stderr


def test_export_without_a_finished_trial_writes_nothing(home: Path) -> None:
    make_study(open_storage(f"sqlite:///{home / 'alexsearch.db'}"), TrialState.PRUNED)
    result = run("export", "--home", home, "-o", "best.toml", code=2)
    assert "no complete trial with a value yet" in result.stderr
    assert not Path("best.toml").exists()


def test_dashboard_off_loopback_asks_for_a_password(study: Path) -> None:
    result = run("dashboard", "--home", study, "--host", "0.0.0.0", "--port", "0", code=2)  # noqa: S104
    assert "--password-file" in result.stderr


# What comes out where all is well


def test_export_names_the_next_command_ready_to_type(study: Path) -> None:
    result = run("export", "--home", study, "-o", "my best.toml")
    assert "trial 1 of study small, val_accuracy 0.6000: my best.toml" in result.stdout
    assert f"next: alexsearch retrain 'my best.toml' --home {study}" in result.stdout
    assert Path("my best.toml").exists()


def test_recipe_on_standard_output_has_nothing_beside_it(study: Path, tmp_path: Path) -> None:
    result = run("export", "--home", study, "-o", "-")
    assert result.stdout.startswith("# The configuration of trial 1")
    assert "next:" not in result.stdout
    assert json.loads(run("export", "--home", study, "-o", "-", "--json").stdout)["trial"] == 1
    several = json.loads(run("export", "--home", study, "-o", "-", "--json", "--top", "9").stdout)
    assert [recipe["trial"] for recipe in several] == [1, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_export_of_more_than_there_are_says_so(study: Path) -> None:
    result = run("export", "--home", study, "-o", "best.toml", "--top", "9")
    assert "study small has no more complete trials: 2 files instead of 9" in result.stdout


def test_export_of_the_best_few_names_its_files(study: Path) -> None:
    result = run("export", "--home", study, "-o", "best.toml", "--top", "2")
    assert "trial 0 of study small, val_accuracy 0.4000: best-2.toml" in result.stdout
    assert "next: alexsearch retrain best-1.toml" in result.stdout
    assert Path("best-2.toml").exists()


@pytest.mark.parametrize("options", [["--trial", "1", "--top", "2"], ["--top", "2", "-o", "-"], ["--json"]])
def test_export_options_that_contradict_each_other_are_refused(study: Path, options: list[str]) -> None:
    run("export", "--home", study, "-o", "best.toml", *options, code=2)
    assert not list(Path().glob("best*"))


def test_next_command_repeats_what_was_typed_and_not_what_the_environment_says(study: Path) -> None:
    typed = run("best", "--home", study).stdout
    assert f"next: alexsearch export --study small --home {study} -o best.toml" in typed
    assert "next: alexsearch export --study small -o best.toml" in run("best", ALEXSEARCH_HOME=str(study)).stdout


def test_next_command_of_an_export_names_the_database_that_was_typed(study: Path) -> None:
    url = f"sqlite:///{study / 'alexsearch.db'}"
    told = run("export", "--home", study, "--storage", url, "-o", "best.toml").stdout
    assert f"next: alexsearch retrain best.toml --home {study} --storage {url}" in told


def test_retraining_after_a_run_is_offered_with_the_folder_database_and_data_that_were_typed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ends(request: RunRequest, *_: Any) -> RunOutcome:
        there = all_studies(request.storage)
        study = there[0] if there else make_study(request.storage, 0.4, trials=1)
        return RunOutcome(study, Queue(request.storage, study.study_id).counts(), 5.0, interrupted=False)

    monkeypatch.setattr(search.run.host, "run_search", ends)
    told = run("run", "quick", "--home", home, "--data", "synthetic").stdout
    assert f"alexsearch retrain best.toml --home {home} --data synthetic" in told
    bare = run("run", "quick", ALEXSEARCH_HOME=str(home), ALEXSEARCH_DATA="synthetic").stdout
    assert bare.splitlines()[-1].split() == ["alexsearch", "retrain", "best.toml"]


def test_stop_is_seen_by_status_and_by_the_queue(study: Path) -> None:
    assert "takes no new trial" in run("stop", "--home", study).stdout
    assert json.loads(run("status", "--home", study, "--json").stdout)["stop"] == "after"
    run("stop", "--home", study, "--now")
    assert json.loads(run("status", "--home", study, "--json").stdout)["stop"] == "now"


@pytest.mark.parametrize("command", ["status", "best", "studies"])
def test_postgres_answers_like_sqlite(command: str, postgres_url: str, study: Path) -> None:
    make_study(open_storage(postgres_url), 0.4, 0.6, TrialState.PRUNED, TrialState.FAIL, trials=5)
    there = json.loads(run(command, "--json", ALEXSEARCH_STORAGE=postgres_url).stdout)
    here = json.loads(run(command, "--json", "--home", study).stdout)
    for document in (there, here):
        if command == "status":
            del document["storage"]
    assert there == here


# A run's end, whatever ends it


@pytest.fixture
def ends_with(monkeypatch: pytest.MonkeyPatch, home: Path) -> Callable[..., Result]:
    """`alexsearch run` whose search ends with the given error; returns the result of the command."""

    def invoke(error: BaseException, code: int) -> Result:
        def search_ends(_request: RunRequest, *_: Any) -> None:
            raise error

        monkeypatch.setattr(search.run.host, "run_search", search_ends)
        return run("run", "quick", "--home", home, "--data", "synthetic", code=code)

    return invoke


def test_failure_of_a_run_ends_with_one(ends_with: Callable[..., Result]) -> None:
    assert "no slot can train" in ends_with(RunError("no slot can train"), 1).stderr


def test_database_lost_during_a_run_is_a_failure_not_a_wrong_input(ends_with: Callable[..., Result]) -> None:
    assert "stayed away" in ends_with(StorageError("the database stayed away"), 1).stderr


@pytest.mark.parametrize("by_signal", [True, False])
def test_run_that_was_stopped_by_command_has_done_what_it_was_told(
    home: Path, monkeypatch: pytest.MonkeyPatch, by_signal: bool
) -> None:
    def is_stopped(request: RunRequest, _view: Any, stopping: threading.Event) -> RunOutcome:
        if by_signal:
            signal.raise_signal(signal.SIGTERM)
        stopping.set()
        study = make_study(request.storage)
        return RunOutcome(study, Queue(request.storage, study.study_id).counts(), 5.0, interrupted=True)

    monkeypatch.setattr(search.run.host, "run_search", is_stopped)
    result = run("run", "quick", "--home", home, "--data", "synthetic", code=143 if by_signal else 0)
    assert "next: run the same command again to go on from here" in result.stdout


def test_interruption_before_the_first_trial_ends_with_130(ends_with: Callable[..., Result]) -> None:
    assert "Nothing was changed" in ends_with(KeyboardInterrupt(), 130).stderr


def test_full_disk_during_a_run_ends_with_one_and_names_the_file(ends_with: Callable[..., Result]) -> None:
    told = ends_with(OSError(28, "No space left on device", "a.log"), 1).stderr
    assert told == "alexsearch: a.log: No space left on device\n"


def test_defect_of_ours_is_not_dressed_up(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def defect(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(search.run.host, "run_search", defect)
    result = CliRunner().invoke(main, ["run", "quick", "--home", str(home), "--data", "synthetic"])
    assert isinstance(result.exception, ZeroDivisionError)


def test_signal_that_comes_again_while_the_first_is_taken_in_is_the_same_one(home: Path) -> None:
    storage = open_storage(f"sqlite:///{home / 'alexsearch.db'}")

    class Interrupted(threading.Event):
        def set(self) -> None:
            signal.raise_signal(signal.SIGTERM)
            super().set()

    with Stopping(storage) as stopping:
        stopping.event = Interrupted()
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
    assert stopping.event.is_set()
    assert stopping.exit_code == 143


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_first_signal_asks_for_an_end_and_handlers_come_back(home: Path, number: signal.Signals) -> None:
    storage = open_storage(f"sqlite:///{home / 'alexsearch.db'}")
    inherited = signal.signal(number, signal.default_int_handler)  # what is ignored, as nohup has it, stays so
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    try:
        with Stopping(storage) as stopping:
            signal.raise_signal(number)
            assert stopping.event.is_set()
        assert stopping.exit_code == 128 + number
        assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
    finally:
        signal.signal(number, inherited)


def test_signal_that_nohup_ignores_stays_ignored(home: Path) -> None:
    storage = open_storage(f"sqlite:///{home / 'alexsearch.db'}")
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Stopping(storage) as stopping:
            signal.raise_signal(signal.SIGHUP)
            assert not stopping.event.is_set()
    finally:
        signal.signal(signal.SIGHUP, before)


# Processes of their own: imports, pipes, locales


@pytest.mark.parametrize(
    "arguments", [["--help"], ["run", "--help"], ["status"], ["best"], ["studies"], ["export", "-o", "b.toml"]]
)
def test_command_that_trains_nothing_imports_nothing_heavy(study: Path, arguments: list[str]) -> None:
    heavy = (*HEAVY, "optuna", "sqlalchemy", "pydantic") if "--help" in arguments else HEAVY
    program = (
        "import sys\nfrom search.cli.main import main\n"
        f"try:\n    main({arguments!r})\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        f"print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "ALEXSEARCH_HOME": str(study)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", ["best", "studies --json"])
def test_reader_that_leaves_ends_the_command_quietly(study: Path, command: str) -> None:
    script = f"{sys.executable} -m search.cli.main {command} | true; echo ${{PIPESTATUS[0]}}"
    environment = {**os.environ, "ALEXSEARCH_HOME": str(study)}
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, timeout=60, env=environment, check=False
    )
    assert (done.stdout, done.stderr) == ("0\n", "")


@pytest.mark.parametrize("command", ["best", "best --json"])
def test_full_disk_under_standard_output_is_told_in_a_line(study: Path, command: str) -> None:
    script = f"{sys.executable} -m search.cli.main {command} > /dev/full; echo $?"
    environment = {**os.environ, "ALEXSEARCH_HOME": str(study)}
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, timeout=60, env=environment, check=False
    )
    assert (done.stdout, done.stderr) == ("1\n", "alexsearch: No space left on device\n")


def test_home_with_blanks_and_letters_from_anywhere(tmp_path: Path) -> None:
    home = tmp_path / "jänner 雪"
    make_study(open_storage(f"sqlite:///{home / 'alexsearch.db'}"), 0.5)
    done = process("status", "--home", home, "--json")
    assert json.loads(done.stdout)["best"]["value"] == 0.5
    assert "val_accuracy 0.5000" in process("best", "--home", home, LC_ALL="C").stdout


def test_home_that_the_locale_cannot_read_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "jänner"
    make_study(open_storage(f"sqlite:///{home / 'alexsearch.db'}"), 0.5)
    done = process("status", "--home", home, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert done.returncode == 2
    assert "LC_ALL=C.UTF-8" in done.stderr


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colour_where_none_is_wanted(study: Path, environment: dict[str, str]) -> None:
    command = f"{sys.executable} -m search.cli.main status --home {study}"
    done = subprocess.run(
        ["script", "-qec", command, "/dev/null"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "TERM": "xterm", **environment},
        check=False,
    )
    assert "val_accuracy 0.6000" in done.stdout
    assert not re.search(r"\x1b\[[0-9;]*[34]\d", done.stdout)


def test_ctrl_c_before_the_study_exists_ends_with_130(home: Path) -> None:
    """At any moment from the command's first import of ours on: here while the database is being opened."""
    program = (
        "import os, signal\nimport search.cli.options, studies.store.opening\nfrom search.cli.main import main\n"
        "studies.store.opening.open_storage = lambda *_, **__: os.kill(os.getpid(), signal.SIGINT)\n"
        f"main(['run', 'quick', '--data', 'synthetic', '--home', {str(home)!r}])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (130, "alexsearch: interrupted\n")


def test_database_that_others_can_read_is_remarked_on_once(study: Path) -> None:
    assert run("status", "--home", study).stderr == ""
    (study / "alexsearch.db").chmod(0o644)
    study.chmod(0o755)
    told = run("status", "--home", study)
    assert (told.exit_code, told.stderr.count("can be read by other users")) == (0, 1)
    study.chmod(0o700)  # then nobody comes to it
    assert run("status", "--home", study).stderr == ""


def test_password_file_that_others_can_read_is_remarked_on(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, content in (("secret", "a long password"), ("token", "a long token")):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o644)
    tmp_path.chmod(0o755)
    monkeypatch.setattr("search.screen.serving.serve_dashboard", lambda *_, **__: None)
    files = ("--password-file", tmp_path / "secret", "--token-file", tmp_path / "token")
    told = run("dashboard", "--home", study, *files)
    assert [line.split("the ")[1].split(" /")[0] for line in told.stderr.splitlines()] == [
        "password file",
        "token file",
    ]
    for name in ("secret", "token"):
        (tmp_path / name).chmod(0o600)
    assert run("dashboard", "--home", study, *files).stderr == ""
