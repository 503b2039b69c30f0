"""What a study has come to: the documents that `--json` prints, and the words and tables for people."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from study_maker import make_foreign, make_study

from search.base.mistakes import InputError
from search.base.terminal import Output
from search.cli.options import print_json
from search.retraining.verify import verify_study
from search.run.request import RunOutcome
from search.screen.summary import (
    best_document,
    print_best,
    print_outcome,
    print_status,
    print_studies,
    print_trials,
    show_what_was_before,
    status_document,
    studies_document,
)
from studies.queue.limits import Limits
from studies.queue.queue import Queue
from studies.record.catalog import top_trials
from studies.store.storage import Storage


class Sheet(Output):
    def __init__(self, width: int = 160) -> None:
        super().__init__()
        self.file = self.text = io.StringIO()
        self.width = width

    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.text.getvalue().splitlines()]


def status_lines(storage: Storage, name: str | None = None) -> list[str]:
    sheet = Sheet()
    print_status(sheet, status_document(storage, name))
    return sheet.lines()


def test_status_counts_every_kind_of_trial(storage: Storage) -> None:
    make_study(storage, 0.4, 0.5, TrialState.PRUNED, TrialState.FAIL, trials=6)
    document = status_document(storage, None)
    assert document["budget"] == 6
    assert document["counts"] == {
        "waiting": 2,
        "running": 0,
        "complete": 2,
        "pruned": 1,
        "failed": 1,
        "retried": 0,
        "paused": 0,
    }
    assert document["best"] == {"number": 1, "value": 0.5, "params": {"learning_rate": 0.02}}
    assert document["failures"] == [{"number": 3, "reason": "diverged: the loss became NaN"}]
    assert (document["slots"], document["stop"], document["ours"]) == ([], None, True)


def test_status_for_people_says_best_failures_and_that_nobody_works(storage: Storage) -> None:
    make_study(storage, 0.5, TrialState.FAIL, trials=3)
    lines = status_lines(storage)
    assert lines[0].startswith("study small in ")
    assert lines[1:] == [
        "2 of 3 settled: 1 complete, 1 failed; 1 waiting",
        "best: trial 0, val_accuracy 0.5000 (learning_rate 0.01)",
        "cost: 8 s of device time",
        "trial 1 failed: diverged: the loss became NaN",
        "nobody works on it: `alexsearch run` goes on",
    ]


def test_status_says_what_pruning_saved(storage: Storage) -> None:
    make_study(storage, 0.5, TrialState.PRUNED)
    assert status_document(storage, None)["cost"] == {"device_seconds": 8.0, "saved_seconds": 4.0, "pauses": 0}
    assert "cost: 8 s of device time; pruning saved about 4 s (33%)" in status_lines(storage)


def test_status_shows_who_works_at_what(storage: Storage) -> None:
    study = make_study(storage)
    queue = Queue(storage, study.study_id)
    slot = queue.join("gpu 3: NVIDIA X")
    queue.take(slot)
    (shown,) = status_document(storage, None)["slots"]
    assert (shown["device"], shown["trial"], shown["stale"]) == ("gpu 3: NVIDIA X", 0, False)
    text = "\n".join(status_lines(storage))
    assert "gpu 3: NVIDIA X" in text
    assert "stale" not in text
    assert "nobody" not in text


def test_status_says_what_becomes_of_the_trial_of_a_dead_worker(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(storage)
    queue = Queue(storage, study.study_id)
    queue.take(queue.join("cpu"))
    monkeypatch.setattr("studies.queue.process.process_started", lambda _pid: None)
    lines = status_lines(storage)
    assert lines[-1].startswith("gone or stale: that worker has ended or hangs")
    assert any(line.endswith(" ago, gone") for line in lines)


def test_status_says_that_a_study_was_told_to_stop(storage: Storage) -> None:
    study = make_study(storage)
    Queue(storage, study.study_id).request_stop(now=True)
    assert status_document(storage, None)["stop"] == "now"
    assert status_lines(storage)[-1].startswith("told to stop")


def test_many_failures_are_counted_not_listed(storage: Storage) -> None:
    make_study(storage, *[TrialState.FAIL] * 6, trials=6)
    lines = status_lines(storage)
    assert [line for line in lines if " failed: " in line] == [
        f"trial {n} failed: diverged: the loss became NaN" for n in (5, 4, 3)
    ]
    assert "... and 3 that failed before" in lines


def test_another_programs_studies_are_described_without_lying(storage: Storage) -> None:
    make_foreign(storage, "low", (3.0,), (1.5,), directions=["minimize"])
    make_foreign(storage, "two", (3.0, 1.0), directions=["minimize", "maximize"])
    make_foreign(storage, "endless", (float("inf"),), directions=["maximize"])
    make_study(storage, 0.5)
    low, two, endless, small = studies_document(storage)
    assert [study["ours"] for study in (low, two, endless, small)] == [False, False, False, True]
    assert low["best"]["value"] == 1.5
    assert two["best"] is None
    assert endless["best"] is None
    assert status_lines(storage, "low")[2] == "best: trial 1, value 1.5000"
    assert "made by another program" in status_lines(storage, "two")[0]
    sheet = Sheet()
    print_studies(sheet, storage, studies_document(storage))
    assert sheet.lines()[1].split()[:4] == ["low", "2/2", "1.5000", "1"]
    best = Sheet()
    print_best(best, storage, best_document(storage, "low"), "")
    assert best.lines()[0] == "study low: trial 1, value 1.5000"
    assert not any("export" in line for line in best.lines())


def test_names_and_values_of_another_program_are_no_markup_and_no_control_codes(storage: Storage) -> None:
    make_foreign(storage, "[red]x[/red]\x1b[31m\r\n", (1.0,), directions=["minimize"])
    sheet = Sheet()
    print_studies(sheet, storage, studies_document(storage))
    print_status(sheet, status_document(storage, None))
    print_best(sheet, storage, best_document(storage, None), "")
    text = sheet.text.getvalue()
    assert text.count("[red]x[/red]") == 3
    assert "\x1b" not in text
    assert "\r" not in text


def test_what_another_program_keeps_under_our_names_is_not_read_as_ours(storage: Storage) -> None:
    study = optuna.create_study(study_name="theirs", storage=storage, direction="maximize")
    for config in ("a/file.yaml", {"lr": 1}, {"epochs": "many"}):
        trial = study.ask()
        trial.set_user_attr("config", config)
        trial.set_user_attr("seconds", "fast")
        trial.report(0.1, 1)
        study.tell(trial, 0.5)
    document = best_document(storage, "theirs")
    assert (document["config"], document["seconds"]) == ({}, None)
    sheet = Sheet()
    print_best(sheet, storage, document, "")
    assert sheet.lines()[0] == "study theirs: trial 0, value 0.5000"
    with pytest.raises(InputError, match="not made by alexsearch"):
        verify_study(storage, "theirs", top=1, seeds=2, out=None, means=SimpleNamespace())  # type: ignore[arg-type]


def test_best_document_holds_all_of_the_configuration(storage: Storage) -> None:
    make_study(storage, 0.4, 0.6)
    document = best_document(storage, None)
    assert (document["study"], document["number"], document["value"]) == ("small", 1, 0.6)
    assert document["params"] == {"learning_rate": 0.02}
    assert document["config"]["batch_size"] == 32
    assert document["config"]["learning_rate"] == 0.02
    assert (document["epochs_run"], document["seconds"], document["device"]) == (3, 6.0, "cpu")


def test_best_for_people_names_the_next_command(storage: Storage) -> None:
    make_study(storage, 0.4, 0.6)
    sheet = Sheet()
    print_best(sheet, storage, best_document(storage, None), " --study small --home 'my runs'")
    assert sheet.lines()[0] == "study small: trial 1, val_accuracy 0.6000"
    assert sheet.lines()[-1] == "next: alexsearch export --study small --home 'my runs' -o best.toml"


def table_of(storage: Storage, width: int, space: dict[str, Any], *configs: dict[str, Any]) -> list[list[str]]:
    """The table of trials of a study that searched `space` and came to these configurations, best last."""
    study = make_study(storage, *(0.1 * place for place in range(1, len(configs) + 1)))
    study = replace(study, attributes={**study.attributes, "space": {"space": space}})
    trials = top_trials(storage, study, 5)
    for trial, config in zip(reversed(trials), configs, strict=True):
        trial.user_attrs["config"] = {**trial.user_attrs["config"], **config}
    sheet = Sheet(width)
    print_trials(sheet, trials, study)
    assert all(len(line) <= width for line in sheet.lines()[:-1])
    return [re.split(r"\s{2,}", line.strip()) for line in sheet.lines()]


SEARCHED = {"low": 1, "high": 2}
STEP = {"schedule": "step", "step_epochs": 4, "step_factor": 0.1}


def test_table_of_trials_shows_what_was_searched_and_no_constants(storage: Storage) -> None:
    space = {"batch_size": 32, "learning_rate": SEARCHED, "optimizer": SEARCHED, "momentum": SEARCHED, "epochs": 3}
    first = {"learning_rate": 0.0159, "optimizer": "sgd", "momentum": 0.9}
    second = {"learning_rate": 0.001, "optimizer": "adam"}
    assert table_of(storage, 80, space, first, second) == [
        ["trial", "val_accuracy", "took", "learning_rate", "optimizer", "momentum"],
        ["1", "0.2000", "6 s", "0.001", "adam", "-"],
        ["0", "0.1000", "6 s", "0.0159", "sgd", "0.9"],
    ]


def test_schedule_is_one_column_with_all_that_belongs_to_it(storage: Storage) -> None:
    space = {"batch_size": SEARCHED, "schedule": "step", "step_epochs": SEARCHED, "epochs": SEARCHED}
    assert table_of(storage, 80, space, STEP) == [
        ["trial", "val_accuracy", "took", "batch_size", "epochs", "schedule"],
        ["0", "0.1000", "6 s", "32", "3", "x 0.1 every 4"],
    ]


def test_columns_that_do_not_fit_are_named_below_the_table(storage: Storage) -> None:
    space = dict.fromkeys(("batch_size", "learning_rate", "epochs", "schedule", "optimizer"), SEARCHED)
    head, _, below = table_of(storage, 60, space, {**STEP, "optimizer": "sgd"})
    assert head == ["trial", "val_accuracy", "took", "batch_size", "learning_rate", "epochs"]
    assert below == ["searched too, but this terminal is too narrow: optimizer, schedule"]


def test_screen_of_a_run_knows_what_its_study_had_come_to(storage: Storage) -> None:
    said: list[Any] = []
    screen = SimpleNamespace(before=lambda *before: said.append(before))
    show_what_was_before(screen, storage, "not there yet")  # type: ignore[arg-type]
    assert said == []
    make_study(storage, 0.4, 0.6, 0.5)
    show_what_was_before(screen, storage, "small")  # type: ignore[arg-type]
    assert said == [((0.6, 1), [0.4, 0.6, 0.6], pytest.approx(18))]


def test_end_of_a_run_says_what_came_out_and_what_to_type_next(storage: Storage) -> None:
    study = make_study(storage, 0.4, TrialState.FAIL, trials=3)
    sheet = Sheet()
    outcome = RunOutcome(study, Queue(storage, study.study_id).counts(), 61.0, interrupted=True, notes=("a note",))
    again = " --home h --data d.npz"
    print_outcome(sheet, storage, outcome, " --study small", "runs/small/logs", retrained_with=again)
    assert sheet.lines()[1] == "study small, after 1 min 01 s: 2 of 3 settled: 1 complete, 1 failed; 1 waiting"
    assert sheet.lines()[-10:] == [
        "cost: 8 s of device time",
        "trial 1 failed: diverged: the loss became NaN",
        "what the training processes printed: runs/small/logs",
        "a note",
        f"kept in {storage.name}",
        "next: run the same command again to go on from here",
        "      alexsearch dashboard --study small",
        "      alexsearch export --study small -o best.toml",
        "      alexsearch retrain best.toml --home h --data d.npz",
        "      alexsearch retry --study small --failed    # once what made them fail is mended",
    ]


def test_end_of_a_run_says_what_ended_it_and_how_to_go_on(storage: Storage) -> None:
    study = make_study(storage, 0.4, trials=3)
    counts = Queue(storage, study.study_id).counts()
    for ended, said, goes_on in (
        ({"timed_out": True}, "ended: the timeout is over", "next: run the same command again to go on from here"),
        ({"limit": "target 0.3 is reached"}, "ended: target 0.3 is reached", "next: run it with a higher limit"),
    ):
        sheet = Sheet()
        print_outcome(sheet, storage, RunOutcome(study, counts, 5.0, interrupted=True, **ended), "", "logs")
        assert sheet.lines()[2] == said
        assert any(line.startswith(goes_on) for line in sheet.lines())


def test_status_says_which_limit_ended_a_study(storage: Storage) -> None:
    study = make_study(storage, 0.4, trials=3)
    Queue(storage, study.study_id).begin(Limits(target=0.4))
    assert status_document(storage, None)["stopped_by"] == "target 0.4 is reached: trial 0 has 0.4000"
    assert status_lines(storage)[-1].startswith("ended: target 0.4 is reached: trial 0 has 0.4000.")


def test_run_without_a_complete_trial_offers_no_export(storage: Storage) -> None:
    study = make_study(storage, trials=1)
    sheet = Sheet()
    print_outcome(sheet, storage, RunOutcome(study, Queue(storage, study.study_id).counts(), 5.0, True), "", "logs")
    assert not any("export" in line for line in sheet.lines())


def test_numbers_that_json_lacks_become_null(capsys: pytest.CaptureFixture[str]) -> None:
    document: dict[str, Any] = {"a": float("inf"), "b": [float("nan"), 1.5], "c": {"d": float("-inf")}}
    print_json(document)
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, 1.5], "c": {"d": None}}
