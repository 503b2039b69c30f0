"""`status --watch`: on a terminal, in a pipe, until the study is done, and without a clock that anybody waits for."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from optuna.trial import TrialState
from study_maker import make_foreign, make_study

from search.base.terminal import Output
from search.cli.main import main
from search.screen.live import sparkline
from search.screen.watching import look, view, watch
from studies.queue.queue import Queue
from studies.record.catalog import StudyError, find_study, rename_study
from studies.store.opening import open_storage
from studies.store.storage import Storage


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(f"sqlite:///{tmp_path / 'alexsearch.db'}")


class Terminal(Output):
    """An `Output` that takes itself for a terminal, or for a pipe, and is read afterwards."""

    def __init__(self, width: int, *, interactive: bool, encoding: str = "utf-8") -> None:
        super().__init__()
        self.bytes = io.BytesIO()
        self.file = io.TextIOWrapper(self.bytes, encoding=encoding, errors="backslashreplace", newline="")
        self.width, self.height = width, 40
        self._force_terminal = interactive
        self.is_interactive = interactive

    @property
    def text(self) -> str:
        self.file.flush()
        return self.bytes.getvalue().decode()


def settling(storage: Storage, *values: float) -> Callable[[float], None]:
    """A pause in which a waiting trial is settled; after the last of them, Ctrl-C."""
    left = list(values)

    def pause(_seconds: float) -> None:
        if not left:
            raise KeyboardInterrupt
        queue = Queue(storage, find_study(storage, None).study_id)
        slot = queue.join("gpu 0: NVIDIA H100")
        taken = queue.take(slot)
        assert taken is not None
        metrics = {"loss": 1.0, "accuracy": 0.5, "val_loss": 1.0, "val_accuracy": left[0], "seconds": 60.0}
        queue.record_epoch(slot, taken.trial_id, {**metrics, "epoch": 1, "learning_rate": 0.1})
        queue.settle(slot, taken.trial_id, TrialState.COMPLETE, left.pop(0), {"seconds": 60.0})
        queue.leave(slot)

    return pause


def test_pipe_gets_a_line_where_trials_were_settled_and_an_end(storage: Storage) -> None:
    make_study(storage, 0.4, 0.5, trials=4)
    console = Terminal(160, interactive=False)
    watch(storage, "small", console, every=1, pause=settling(storage, 0.45, 0.7))
    lines = console.text.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("2 of 4 settled: 2 complete; 2 waiting; best 0.5000 (trial 1)")
    assert lines[2] == "4 of 4 settled: 4 complete; best 0.7000 (trial 3); 2 min 12 s of device time"
    assert "\x1b" not in console.text


@pytest.mark.parametrize("interactive", [True, False])
def test_ctrl_c_leaves_and_a_stopped_study_is_not_waited_for(storage: Storage, interactive: bool) -> None:
    study = make_study(storage, 0.4, trials=4)
    queue = Queue(storage, study.study_id)
    watch(storage, None, Terminal(100, interactive=interactive), every=1, pause=settling(storage))
    assert queue.stop_requested() is None
    queue.request_stop(now=False)

    def never(_seconds: float) -> None:
        pytest.fail("it waits for a study that is stopped")

    watch(storage, None, Terminal(100, interactive=interactive), every=1, pause=never)


@pytest.mark.parametrize("width", [80, 120])
def test_view_fits_its_terminal_and_has_slots_best_and_what_is_to_go(storage: Storage, width: int) -> None:
    study = make_study(storage, 0.4, 0.5, 0.45, 0.6, TrialState.PRUNED, trials=8)
    queue = Queue(storage, study.study_id)
    slot = queue.join("gpu 0: NVIDIA H100 80GB HBM3")
    taken = queue.take(slot)
    assert taken is not None
    metrics = {"loss": 1.0, "accuracy": 0.5, "val_loss": 1.0, "val_accuracy": 0.5, "seconds": 60.0}
    queue.record_epoch(slot, taken.trial_id, {**metrics, "epoch": 1, "learning_rate": 0.1}, 1234.0)
    console = Terminal(width, interactive=False)
    console.print(view(look(storage, None), console))
    lines = console.text.splitlines()
    assert all(len(line) <= width for line in lines)
    assert "5 of 8 settled" in lines[1]
    assert any("best val_accuracy 0.6000 ▁▅▅█ (trial 3: learning_rate 0.04" in line for line in lines)
    assert any("1 min 26 s of device time   1234 images/s" in line for line in lines)
    assert any(line.startswith(look(storage, None).slots[0].host) for line in lines)


def test_no_color_is_honoured(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    make_study(storage, 0.4, trials=1)
    monkeypatch.setenv("NO_COLOR", "1")
    console = Terminal(100, interactive=True)
    console.print(view(look(storage, None), console))
    assert "\x1b[3" not in console.text


def test_terminal_without_the_blocks_gets_no_sparkline_and_equal_values_a_flat_one() -> None:
    ascii_only, utf = Terminal(80, interactive=False, encoding="ascii"), Terminal(80, interactive=False)
    assert sparkline([0.1, 0.2], 10, ascii_only) == ""
    assert sparkline([0.1], 10, utf) == ""
    assert sparkline([0.5] * 3, 10, utf) == "▁▁▁"
    assert sparkline([number / 1000 for number in range(1000)], 8, utf) == "▁▂▃▄▅▆▇█"


def test_another_programs_study_is_watched_as_well(storage: Storage) -> None:
    make_foreign(storage, "a\x1b[31m\nb", (3.0,), (1.0,), (2.0,), directions=["minimize"])
    latest = look(storage, None)
    assert latest.best_over_time == [3.0, 1.0, 1.0]
    console = Terminal(100, interactive=False)
    console.print(view(latest, console))
    assert "\x1b" not in console.text
    assert "best value 1.0000" in console.text


def test_command_watches_to_the_end_and_then_says_how_it_stands(storage: Storage, tmp_path: Path) -> None:
    make_study(storage, 0.4, 0.6, trials=2)
    result = CliRunner().invoke(main, ["status", "--watch", "--home", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("2 of 2 settled")
    assert "best: trial 1, val_accuracy 0.6000" in result.stdout
    refused = CliRunner().invoke(main, ["status", "--watch", "--json", "--home", str(tmp_path)])
    assert refused.exit_code == 2


def test_study_that_is_renamed_or_deleted_while_it_is_watched_is_followed_and_told(storage: Storage) -> None:
    study = make_study(storage, 0.4, 0.5, trials=4)
    make_study(storage, name="another")
    console = Terminal(160, interactive=False)
    edits = [lambda: rename_study(storage, study.study_id, "b"), lambda: storage.delete_study(study.study_id)]
    edits.insert(1, lambda: None)
    with pytest.raises(StudyError, match="study 'b' was deleted"):
        watch(storage, "small", console, every=1, pause=lambda _seconds: edits.pop(0)())
    assert console.text.count("study small is called b now\n") == 1
