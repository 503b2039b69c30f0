"""A study's trials as a table: what is in it, how it is written, and that other programs read the same."""

from __future__ import annotations

import csv
import io
import json
import time
from pathlib import Path

import optuna
import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result
from optuna.trial import TrialState
from study_maker import make_foreign, make_study

from search.cli.main import main
from search.screen.tabling import as_csv, as_json, write_table
from studies.queue.queue import Queue
from studies.record.catalog import find_study
from studies.record.rows import Table, epoch_table, trial_table
from studies.store.epochs import OURS
from studies.store.opening import open_storage
from studies.store.schema import EPOCHS
from studies.store.storage import Storage
from studies.store.tables import TRIAL_USER, TRIALS


def alexsearch(*words: object, code: int = 0) -> Result:
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return done


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    make_study(open_storage(url), 0.4, 0.6, TrialState.PRUNED, TrialState.FAIL, trials=6)
    return url


def test_each_trial_is_one_line_that_says_what_it_came_to(storage: Storage) -> None:
    make_study(storage, 0.4, TrialState.PRUNED, TrialState.FAIL, trials=4)
    rows = list(csv.DictReader(io.StringIO(as_csv(trial_table(storage, find_study(storage, None))))))
    assert [row["number"] for row in rows] == ["0", "1", "2", "3"]
    assert [row["state"] for row in rows] == ["complete", "pruned", "failed", "waiting"]
    assert [row["value"] for row in rows] == ["0.4", "0.2", "", ""]
    assert [float(row["params_learning_rate"]) for row in rows[:3]] == pytest.approx([0.01, 0.02, 0.03])
    assert [(row["epochs_run"], row["epochs_planned"], row["seconds"]) for row in rows] == [
        *(("3", "3", "6.0"), ("1", "3", "2.0"), ("1", "3", "2.0"), ("0", "", ""))
    ]
    assert rows[2]["reason"] == "diverged: the loss became NaN"
    assert [row["seed"] for row in rows] == ["0", "1", "2", ""]
    assert rows[0]["started"].endswith("+00:00")
    assert rows[3]["started"] == rows[3]["ended"] == ""


def test_columns_are_the_same_before_and_after_the_first_trial(storage: Storage) -> None:
    study = make_study(storage)
    before = trial_table(storage, study).columns
    make_study(storage, 0.4)
    assert trial_table(storage, study).columns == before


def test_epochs_are_one_line_each_with_all_their_metrics(storage: Storage) -> None:
    study = make_study(storage, 0.4, TrialState.PRUNED)
    table = epoch_table(storage, study)
    assert table.columns[:2] == ("trial", "epoch")
    assert set(table.columns) == {"trial", "epoch", "seconds", *OURS}
    assert [row[:2] for row in table.rows] == [(0, 1), (0, 2), (0, 3), (1, 1)]
    assert all(len(row) == len(table.columns) for row in table.rows)


def test_metrics_of_any_name_are_columns(storage: Storage) -> None:
    study = make_study(storage, trials=2)
    queue = Queue(storage, study.study_id)
    slot = queue.join("cpu")
    for metrics in ({"f1": 0.5, "val_accuracy": 0.5}, {"f1": 0.7, "val_accuracy": 0.5, "recall": 0.2}):
        taken = queue.take(slot)
        assert taken is not None
        queue.record_epoch(slot, taken.trial_id, {**metrics, "epoch": 1, "seconds": 2.0})
        queue.settle(slot, taken.trial_id, TrialState.COMPLETE, 0.5, {})
    table = epoch_table(storage, study)
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert [(row["trial"], row["f1"], row["recall"]) for row in rows] == [(0, 0.5, None), (1, 0.7, 0.2)]


def test_study_of_another_program_has_its_values_attributes_and_reports(storage: Storage) -> None:
    make_foreign(storage, "theirs", (1.0, 2.0), directions=["minimize", "maximize"])
    one = optuna.create_study(storage=storage, study_name="one")
    attributes = {"note": "hello", "number": 7, "nested": {"a": 1}}
    distribution = optuna.distributions.FloatDistribution(0, 1)
    one.add_trial(
        optuna.create_trial(
            value=1.0,
            params={"x": 0.5},
            distributions={"x": distribution},
            user_attrs=attributes,
            intermediate_values={0: 3.0, 5: 2.0},
        )
    )
    several = trial_table(storage, find_study(storage, "theirs"))
    assert several.columns[:4] == ("number", "state", "value_0", "value_1")
    assert several.rows[0][:4] == (0, "complete", 1.0, 2.0)
    found = find_study(storage, "one")
    table = trial_table(storage, found)
    row = dict(zip(table.columns, table.rows[0], strict=True))
    assert (row["params_x"], row["user_attrs_note"], row["user_attrs_number"]) == (0.5, "hello", 7)
    assert "user_attrs_nested" not in row
    assert epoch_table(storage, found).rows == [(0, 0, 3.0), (0, 5, 2.0)]


def test_text_is_quoted_and_no_spreadsheet_takes_it_for_a_formula() -> None:
    texts = ("=cmd|' /C calc'!A0", "+1+1", "@sum", "-a", "\tx", 'a "b", c', "two\nlines", "-1", "+2e3", "")
    table = Table(("=name", "cell", "value"), [(1, text, -0.5) for text in texts])
    text = as_csv(table)
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert rows[0] == ["'=name", "cell", "value"]
    assert [row[1] for row in rows[1:6]] == ["'" + text for text in texts[:5]]
    assert [row[1] for row in rows[6:]] == list(texts[5:])
    assert {row[2] for row in rows[1:]} == {"-0.5"}
    assert text.count("\r\n") == len(rows)
    assert '"a ""b"", c"' in text


def test_json_has_no_number_that_json_lacks() -> None:
    table = Table(("a", "b"), [(float("nan"), "é\x00"), (float("inf"), None), (2, True)])
    assert json.loads(as_json(table)) == [{"a": None, "b": "é\x00"}, {"a": None, "b": None}, {"a": 2, "b": True}]
    assert json.loads(as_json(Table(("a",), []))) == []


def test_parquet_keeps_numbers_times_and_mixed_columns(storage: Storage, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    study = make_study(storage, 0.4, TrialState.PRUNED)
    table = trial_table(storage, study)
    write_table(table, tmp_path / "t.parquet", "parquet")
    read = parquet.read_table(tmp_path / "t.parquet").to_pydict()
    assert tuple(read) == table.columns
    assert read["value"] == [row[2] for row in table.rows]
    started = table.columns.index("started")
    assert read["started"] == [row[started] for row in table.rows]
    write_table(Table(("a",), [(1,), ("x",), (2**70,), (None,)]), tmp_path / "m.parquet", "parquet")
    assert parquet.read_table(tmp_path / "m.parquet").to_pydict() == {"a": ["1", "x", str(2**70), None]}


def test_what_another_program_wrote_into_a_trial_breaks_no_table(storage: Storage) -> None:
    study = make_study(storage, 0.4)
    row = {"trial_id": 1, "key": "odd\ud800", "value_json": '"\\ud800=x"'}
    with storage.engine.begin() as connection:
        trial_id = connection.scalar(sa.select(TRIALS.c.trial_id).where(TRIALS.c.number == 0))
        row |= {"trial_id": trial_id, "key": "=HYPERLINK(1)"}
        connection.execute(sa.insert(TRIAL_USER).values(**row))
    table = trial_table(storage, study)
    assert table.columns[-1] == "user_attrs_=HYPERLINK(1)"
    assert table.rows[0][-1] == "\\ud800=x"
    as_csv(table).encode()


def test_name_of_the_file_says_the_format_and_a_dash_prints_csv(url: str, tmp_path: Path) -> None:
    told = alexsearch("trials", "--storage", url, "-o", tmp_path / "t.csv").stdout
    assert told.startswith("6 trials of study small: ")
    printed = alexsearch("trials", "--storage", url, "-o", "-").stdout_bytes
    assert printed == (tmp_path / "t.csv").read_bytes()
    alexsearch("trials", "--storage", url, "-o", tmp_path / "t.JSON")
    assert len(json.loads((tmp_path / "t.JSON").read_text())) == 6
    alexsearch("trials", "--storage", url, "--epochs", "-o", tmp_path / "e.json")
    assert len(json.loads((tmp_path / "e.json").read_text())) == 8
    refused = alexsearch("trials", "--storage", url, "-o", "-", "--format", "parquet", code=2)
    assert "Name a file" in refused.stderr


def test_table_that_is_there_stays_unless_force_says_otherwise(url: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("mine")
    assert "--force" in alexsearch("trials", "--storage", url, "-o", path, code=2).stderr
    assert path.read_text() == "mine"
    alexsearch("trials", "--storage", url, "-o", path, "--force")
    assert path.read_text().startswith("number,state,value,params_learning_rate,")
    nowhere = alexsearch("trials", "--storage", url, "-o", path / "inside.csv", code=2).stderr
    assert "can't be written" in nowhere
    assert sorted(each.name for each in tmp_path.iterdir() if each.name.startswith(".")) == []


@pytest.mark.slow
def test_ten_thousand_trials_are_read_and_written_whole(storage: Storage, tmp_path: Path) -> None:
    study = make_study(storage, 0.4, trials=10_000)
    config = json.dumps({"batch_size": 32, "learning_rate": 0.1, "epochs": 20, "schedule": "constant", "seed": 1})
    with storage.engine.begin() as connection:
        ids = connection.scalars(sa.select(TRIALS.c.trial_id).where(TRIALS.c.number > 0)).all()
        connection.execute(
            sa.insert(TRIAL_USER), [{"trial_id": each, "key": "config", "value_json": config} for each in ids]
        )
        metrics = dict.fromkeys((*OURS, "seconds"), 0.5)
        rows = [{"trial_id": each, "epoch": epoch, **metrics} for each in ids for epoch in range(1, 6)]
        connection.execute(sa.insert(EPOCHS), rows)
    began = time.monotonic()
    write_table(trial_table(storage, study), tmp_path / "t.csv", "csv")
    write_table(epoch_table(storage, study), tmp_path / "e.csv", "csv")
    print(f"{time.monotonic() - began:.1f} s")
    assert (tmp_path / "t.csv").read_bytes().count(b"\r\n") == 10_001
    assert (tmp_path / "e.csv").read_bytes().count(b"\r\n") == 9_999 * 5 + 3 + 1
