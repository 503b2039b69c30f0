"""A function of the user's in a process of its own: what it can do and may do wrong. No slot, real processes."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from own_programs import PARAMS, Own, epochs, failure, history

from search.space.own import OwnConfig
from search.training import own_trial
from search.training.child import ChildError
from search.training.messages import Epoch, Failed, Finished, ProgramFound, Said, Started, Train
from search.training.own_child import OwnChild

COUNTS = """
    def train(trial):
        for epoch in trial.epochs():
            trial.save(lambda folder: (folder / "epoch").write_text(str(epoch)))
            if not trial.report(epoch, score=epoch / 10, loss=1 / epoch):
                return
"""


def lines(*body: str) -> str:
    """A function of these lines."""
    return "\n".join(["def train(trial):", *(f"    {line}" for line in body)])


# What it can do


def test_function_reports_its_epochs_with_any_numbers(tmp_path: Path) -> None:
    with Own(tmp_path, COUNTS) as own:
        ready = own.ready()
        assert isinstance(ready.data, ProgramFound)
        assert (ready.data.source, ready.data.fingerprint) == ("train.py:train", own.program.sha256)
        assert ready.data.versions["python"] == ".".join(map(str, sys.version_info[:3]))
        said = own.train()
        assert epochs(said) == {n: {"score": n / 10, "loss": 1 / n} for n in (1, 2, 3)}
        assert said[-1] == Finished(trial=0)
        assert not own.process.outgrown()
        assert list(epochs(own.train(trial=1, epochs=1))) == [1]  # the next trial, in the same process


def test_function_is_told_all_of_its_trial(tmp_path: Path) -> None:
    told = lines(
        "trial.log(f'{trial.params} {trial.number} {trial.seed} {trial.device} {trial.final} {list(trial.epochs())}')",
        "trial.log(f'{trial.restore()} {len(trial.epochs())}')",
        "return 1",
    )
    with Own(tmp_path, told) as own:
        said = own.trained(trial=5, final=True)
    assert [each.text for each in said if isinstance(each, Said)] == [
        "{'lr': 0.1, 'layers': 2} 5 7 cpu True [1, 2, 3]",
        "None 3",
    ]


@pytest.mark.parametrize(
    ("returned", "values"), [("0.5", {"score": 0.5}), ("{'score': 1, 'b': 2}", {"score": 1, "b": 2})]
)
def test_returned_number_is_the_score_of_a_trial_that_reported_nothing(
    tmp_path: Path, returned: str, values: dict[str, float]
) -> None:
    with Own(tmp_path, lines(f"return {returned}"), has_epochs=False) as own:
        said = own.trained(epochs=1)
        assert epochs(said) == {1: values}
        assert isinstance(said[-1], Finished)


def test_report_without_an_epoch_is_of_the_current_one(tmp_path: Path) -> None:
    with Own(tmp_path, lines("for epoch in trial.epochs(): trial.report(score=epoch)")) as own:
        assert epochs(own.trained()) == {n: {"score": n} for n in (1, 2, 3)}


def test_final_training_need_not_report_the_metric(tmp_path: Path) -> None:
    with Own(tmp_path, lines("trial.report(3, test_score=0.5)")) as own:
        assert epochs(own.trained(final=True)) == {3: {"test_score": 0.5}}


def test_told_to_end_it_ends_even_if_it_does_not_ask(tmp_path: Path) -> None:
    deaf = lines("for epoch in range(1, 4):", "    try: trial.report(epoch, score=epoch)", "    except Exception: pass")
    for source in (
        COUNTS,
        deaf,
        lines("for epoch in trial.epochs(): trial.report(epoch, score=1)", "raise ValueError"),
    ):
        with Own(tmp_path, source) as own:
            said = own.trained(goes_on=lambda epoch: epoch < 2)
            assert list(epochs(said)) == [1, 2]
            assert isinstance(said[-1], Finished)


# Numbers


NUMBERS = """
    class Scalar:  # as NumPy, PyTorch and JAX have them
        shape = ()
        def item(self): return 0.25
    class Floating:
        def __float__(self): return 0.25
    class Array(Scalar):
        shape = (3,)
"""


@pytest.mark.parametrize("value", ["1", "0.25", "Scalar()", "Floating()"])
def test_number_of_any_library_is_a_number(tmp_path: Path, value: str) -> None:
    with Own(tmp_path, NUMBERS + f"\n    def train(trial): trial.report(1, score={value})") as own:
        assert epochs(own.trained(epochs=1)) == {1: {"score": 1.0 if value == "1" else 0.25}}


def test_numpy_scalars_are_numbers(tmp_path: Path) -> None:
    source = "import numpy as np\n" + lines(
        "trial.report(np.int64(1), score=np.float32(0.5), a=np.array(2), b=np.ones(1))"
    )
    with Own(tmp_path, source) as own:
        found = own.ready().data
        assert isinstance(found, ProgramFound)
        assert found.versions["numpy"]
        assert epochs(own.train(epochs=1)) == {1: {"score": 0.5, "a": 2, "b": 1}}


@pytest.mark.parametrize(
    ("value", "shown"), [("'0.9'", "'0.9'"), ("True", "True"), ("None", "None"), ("[1]", "[1]"), ("Array()", "<")]
)
def test_what_is_not_a_number_fails_the_trial_and_says_what_it_is(tmp_path: Path, value: str, shown: str) -> None:
    with Own(tmp_path, NUMBERS + f"\n    def train(trial): trial.report(2, score={value})") as own:
        why, retry = failure(own.trained())
    assert (why.kind, retry) == ("error", False)
    assert why.text.startswith(f"train.py:train reported score = {shown}")
    assert why.text.endswith("in epoch 2, which is not a number")


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_metric_that_is_not_finite_has_diverged(tmp_path: Path, value: str) -> None:
    with Own(tmp_path, lines(f"trial.report(1, score=float('{value}'))")) as own:
        why, retry = failure(own.trained())
    assert (why.kind, why.text, retry) == ("diverged", f"score became {value} in epoch 1", False)


def test_another_number_that_is_not_finite_is_left_out_and_the_log_says_so_once(tmp_path: Path) -> None:
    with Own(tmp_path, lines("for epoch in trial.epochs(): trial.report(epoch, score=1, loss=float('nan'))")) as own:
        assert epochs(own.trained()) == {n: {"score": 1} for n in (1, 2, 3)}
        assert own.log.count("loss became nan in epoch 1: it is left out") == 1
        assert own.log.count("left out") == 1


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("trial.report(1, score=1); trial.report(1, score=1)", "train.py:train reported epoch 1 twice"),
        ("trial.report(2, score=1); trial.report(1, score=1)", "train.py:train reported epoch 1 after epoch 2"),
        ("trial.report(4, score=1)", "train.py:train reported epoch 4, but 3 is the last"),
        ("trial.report(0, score=1)", "train.py:train reported epoch 0, but epochs are whole numbers from 1"),
        ("trial.report(1.5, score=1)", "train.py:train reported epoch 1.5, but epochs are whole numbers from 1"),
        ("trial.report('1', score=1)", "train.py:train reported epoch '1', but epochs are whole numbers from 1"),
        ("trial.report(1)", "train.py:train reported no number in epoch 1"),
        ("trial.report(1, loss=1)", "train.py:train reported loss in epoch 1, but not score, the study's metric"),
        (
            "pass",
            "train.py:train returned nothing and reported nothing. Report score, or return it: trial.report(score=...)",
        ),
        ("return [1, 2]", "train.py:train reported score = [1, 2] in epoch 3, which is not a number"),
    ],
)
def test_report_out_of_order_or_without_the_metric_fails_for_good(tmp_path: Path, body: str, text: str) -> None:
    with Own(tmp_path, lines(f"try: {body}", "except Exception: pass")) as own:
        why, retry = failure(own.trained())
        assert (why.kind, why.text, retry) == ("error", text, False)
        assert not own.process.outgrown()  # the next trial can have the same process


def test_training_without_epochs_reports_once(tmp_path: Path) -> None:
    with Own(tmp_path, lines("trial.report(score=1)", "trial.report(score=2)"), has_epochs=False) as own:
        why, _ = failure(own.trained(epochs=1))
    assert why.text == "train.py:train reported epoch 2, but there is no `epochs` in [train]"


# Ends of all kinds


@pytest.mark.parametrize(
    ("body", "kind", "text", "retry"),
    [
        (
            "raise ValueError('no\\nsuch \\x1b[31mlayer')",
            "error",
            "ValueError: no such [31mlayer (train.py, line 2)",
            True,
        ),
        ("[][trial.params['lr'] > 0]", "error", "IndexError: list index out of range (train.py, line 2)", True),
        ("import sys; sys.exit(3)", "error", "train.py:train called sys.exit(3)", False),
        ("raise MemoryError", "out-of-memory", "MemoryError (train.py, line 2)", False),
        (
            "raise type('OutOfMemoryError', (RuntimeError,), {})('CUDA out of memory.')",
            "out-of-memory",
            "OutOfMemoryError: CUDA out of memory. (train.py, line 2)",
            False,
        ),
        (
            "name = 'depth'; trial.params[name]",
            "error",
            "KeyError: 'depth' (train.py, line 2); trial.params has lr, layers",
            True,
        ),
        ("raise KeyboardInterrupt", "error", "KeyboardInterrupt (train.py, line 2)", True),
    ],
)
def test_exception_is_told_on_one_line_with_its_place_and_the_log_has_the_rest(
    tmp_path: Path, body: str, kind: str, text: str, retry: bool
) -> None:
    with Own(tmp_path, lines(body)) as own:
        why, again = failure(own.trained())
        assert (why.kind, why.text, again) == (kind, text, retry)
        assert "Traceback (most recent call last)" in own.log


@pytest.mark.parametrize(
    ("body", "how"),
    [
        ("import os; os._exit(3)", "ended with code 3"),
        ("import ctypes; ctypes.string_at(0)", "was killed by signal 11"),
        ("import os; os.kill(os.getpid(), 9)", "was killed by signal 9"),
    ],
)
def test_process_that_is_gone_is_told_at_once_though_its_children_live(tmp_path: Path, body: str, how: str) -> None:
    left = "import subprocess; subprocess.Popen(['sleep', '60'], start_new_session=True)"
    forked = "import os; os.fork() or __import__('time').sleep(60)"
    with Own(tmp_path, lines(left, forked, "trial.report(1, score=1)", body), epoch_seconds=10) as own:
        own.ready()
        with pytest.raises(ChildError, match=f"training process {how}, see .*slot.log"):
            own.train()
        own.process.kill()
        assert running(own.process) == []
        if "string_at" in body:
            assert "line 5 in train" in own.log  # where it was


def test_function_that_hangs_is_given_up(tmp_path: Path) -> None:
    with Own(tmp_path, lines("trial.report(1, score=1)", "import time; time.sleep(60)"), epoch_seconds=0.3) as own:
        own.ready()
        with pytest.raises(ChildError, match=r"no report for 0\.3 s: taken for hung \(epoch_seconds in \[train\]"):
            own.train()


def test_whatever_it_prints_lands_in_the_log(tmp_path: Path) -> None:
    source = """
        import os, subprocess, sys
        print('{"kind": "report"}')
        def train(trial):
            assert input.__module__ and sys.stdin.read() == ""
            print("printed \\udc80")
            sys.stdout.write("half a line")
            os.write(1, b"written\\n")
            os.system("echo shell")
            subprocess.run([sys.executable, "-c", "print('child'); assert input"], check=True)
            import ctypes
            ctypes.CDLL(None).puts(b"from C") and ctypes.CDLL(None).fflush(None)
            trial.log("two\\nlines")
            return 1
    """
    with Own(tmp_path, source) as own:
        said = own.trained()
        assert isinstance(said[-1], Finished)
        assert [each.text for each in said if isinstance(each, Said)] == ["two lines"]
        for text in ('"report"', r"printed \udc80", "half a line", "written", "shell", "child", "from C"):
            assert text in own.log


# What it leaves behind


def running(process: OwnChild) -> list[int]:
    """The processes of a training that still run."""
    found = []
    for each in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if each.environ().get("ALEXSEARCH_TRAINING") == process._mark.partition("=")[2] and each.is_running():
                found.append(each.pid)
    return found


LEAVING = """
    import os, subprocess, threading, time
    served = subprocess.Popen(["sleep", "61"])      # serves all trials: it was there before the first
    def train(trial):
        subprocess.Popen(["sleep", "62"])
        subprocess.Popen(["sleep", "63"], start_new_session=True)
        subprocess.Popen(["env", "-i", "/bin/sleep", "64"], start_new_session=True)
        os.system("(sleep 65 &) &")
        if os.fork() == 0:
            time.sleep(66)
        {thread}
        return 1
"""


def test_processes_that_it_leaves_are_gone_when_the_trial_is(tmp_path: Path) -> None:
    with Own(tmp_path, LEAVING.format(thread="")) as own:
        assert isinstance(own.trained()[-1], Finished)
        family = psutil.Process(own.process.pid).children(recursive=True)
        commands = [each.cmdline()[-1] for each in family if each.status() != psutil.STATUS_ZOMBIE]
        assert commands == ["61"]
        assert len(running(own.process)) == 2
        assert re.search(r"trial 0 left \d processes, which were ended: the next has a new process", own.log)
        assert own.process.outgrown()
        assert isinstance(own.train()[-1], Finished)
        own.process.kill()
        assert running(own.process) == []


@pytest.mark.parametrize(
    ("thread", "reusable"),
    [
        ("threading.Thread(target=time.sleep, args=(60,), daemon=True).start()", False),
        ("threading.Thread(target=time.sleep, args=(60,)).start()", False),
        ("threading.Thread(target=time.sleep, args=(0.01,)).start()", True),
        ("import library; library.Monitor(daemon=True).start()", True),
    ],
)
def test_process_with_a_thread_left_is_not_used_again(tmp_path: Path, thread: str, reusable: bool) -> None:
    library = tmp_path / "site-packages"
    library.mkdir()
    (library / "library.py").write_text(
        "import threading, time\nclass Monitor(threading.Thread):\n    def run(self): time.sleep(60)\n"
    )
    source = f"import sys, threading, time; sys.path.append({str(library)!r})\n" + lines(thread, "return 1")
    with Own(tmp_path, source) as own:
        assert own.trained()[-1] == Finished(trial=0, reusable=reusable)
        assert own.process.outgrown() is not reusable


def test_function_that_forks_and_comes_back_twice_is_heard_once(tmp_path: Path) -> None:
    with Own(tmp_path, lines("import os; os.fork()", "return 1")) as own:
        own.ready()
        for trial in range(2):
            said = own.train(trial=trial)
            assert len(epochs(said)) == 1
            assert isinstance(said[-1], Finished)


def test_report_in_another_process_is_told_where_to_report(tmp_path: Path) -> None:
    body = ("import os; pid = os.fork()", "if not pid: trial.report(1, score=1)", "os.waitpid(pid, 0)", "return 1")
    with Own(tmp_path, lines(*body)) as own:
        assert epochs(own.trained()) == {3: {"score": 1}}
        assert "RuntimeError: trial belongs to the process that the function was called in" in own.log


def test_killed_host_takes_its_trainings_and_all_that_they_started_with_it(tmp_path: Path) -> None:
    """The slot's end of the pipe closes, and nobody is left to kill anything."""
    busy = lines(
        "import subprocess; subprocess.Popen(['sleep', '60'], start_new_session=True)",
        "trial.log('on')",
        "while True: pass",
    )
    with Own(tmp_path, busy) as own:
        own.ready()
        own.process.send(Train(trial=0, config=OwnConfig(params=PARAMS), checkpoints=None))
        wait_for(lambda: len(running(own.process)) == 2)
        os.kill(own.process.pid, signal.SIGINT)  # as Ctrl-C in the terminal: no matter
        own.process._outbox.put(None)  # closes the pipe, as the end of the host does
        wait_for(lambda: running(own.process) == [])


def wait_for(holds: object) -> None:
    """Until `holds()`, or for so long that it never will."""
    until = time.monotonic() + 20
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < until
        time.sleep(0.01)


# Saves


def stops(at: str) -> str:
    return f"""
        import os
        def train(trial):
            folder = trial.restore()
            trial.log("from " + ((folder / "epoch").read_text() if folder else "the start"))
            for epoch in trial.epochs():
                def save(): trial.save(lambda folder: (folder / "epoch").write_text(str(epoch)))
                {at}
    """


CRASH = "if epoch == 3 and not os.path.exists('{flag}'): open('{flag}', 'w').close(); os._exit(1)"


@pytest.mark.parametrize(
    "order", ["save(); trial.report(epoch, score=epoch)", "trial.report(epoch, score=epoch); save()"]
)
def test_killed_training_goes_on_after_the_last_save_and_no_report_is_lost(tmp_path: Path, order: str) -> None:
    source = stops(f"{CRASH.format(flag=tmp_path / 'crashed')}\n                {order}")
    with Own(tmp_path, source) as own:
        own.ready()
        with pytest.raises(ChildError):
            own.train(epochs=4, checkpoints=tmp_path / "c" / "trial-0")
        own.again()
        said = own.trained(epochs=4, checkpoints=tmp_path / "c" / "trial-0")
    assert history(said) == [1, 2]
    assert Said(trial=0, text="from 2") in said
    assert epochs(said) == {3: {"score": 3}, 4: {"score": 4}}


def test_save_counts_with_the_report_of_its_epoch_only(tmp_path: Path) -> None:
    source = stops(
        f"save()\n                {CRASH.format(flag=tmp_path / 'crashed')}\n                trial.report(score=epoch)"
    )
    with Own(tmp_path, source) as own:
        own.ready()
        with pytest.raises(ChildError):
            own.train(checkpoints=tmp_path / "c")
        own.again()
        said = own.trained(checkpoints=tmp_path / "c")
    assert history(said) == [1, 2]
    assert Said(trial=0, text="from 2") in said
    assert sorted(each.name for each in (tmp_path / "c").iterdir()) == ["save-000002", "save-000003"]


def test_training_that_saves_nothing_starts_anew_and_says_so_once(tmp_path: Path) -> None:
    source = stops(f"{CRASH.format(flag=tmp_path / 'crashed')}\n                trial.report(epoch, score=epoch)")
    with Own(tmp_path, source) as own:
        own.ready()
        with pytest.raises(ChildError):
            own.train(checkpoints=tmp_path / "c")
        own.again()
        said = own.trained(checkpoints=tmp_path / "c")
    assert history(said) == []
    assert list(epochs(said)) == [1, 2, 3]
    starts = [each.text for each in said if isinstance(each, Said) and "anew" in each.text]
    assert starts == ["starts anew: nothing was saved before it was interrupted (trial.save saves)"]


def test_training_that_had_reported_nothing_starts_anew_without_a_word(tmp_path: Path) -> None:
    with Own(tmp_path, lines("raise ValueError")) as own:
        own.ready()
        for _ in range(2):
            assert [type(each) for each in own.train(checkpoints=tmp_path / "c")] == [Started, Failed]


@pytest.mark.parametrize("damage", ["cut", "changed", "gone", "state"])
def test_damaged_save_is_passed_over_for_the_one_before(tmp_path: Path, damage: str) -> None:
    with Own(tmp_path, COUNTS) as own:
        own.trained(checkpoints=tmp_path / "c")
        newest = tmp_path / "c" / "save-000003"
        match damage:
            case "cut":
                (newest / "files" / "epoch").write_text("")
            case "changed":
                (newest / "files" / "epoch").write_text("4")
            case "gone":
                (newest / "files" / "epoch").unlink()
            case _:
                (newest / "state.json").write_text('{"reports": [')
        said = own.train(checkpoints=tmp_path / "c")
        assert history(said) == [1, 2]
        assert list(epochs(said)) == [3]
        assert "save-000003: is damaged, and passed over" in own.log


def test_checkpoint_is_for_its_owner_alone_and_none_is_left_where_none_is_wanted(tmp_path: Path) -> None:
    with Own(tmp_path, COUNTS) as own:
        said = own.trained(checkpoints=tmp_path / "c" / "d")
        assert {
            (tmp_path / "c").stat().st_mode & 0o777,
            (tmp_path / "c" / "d" / "save-000003").stat().st_mode & 0o777,
        } == {0o700}
        before = sorted(tmp_path.rglob("*"))
        assert list(epochs(own.train())) == [1, 2, 3]
        assert sorted(tmp_path.rglob("*")) == before
        seconds = [each.metrics.seconds for each in said if isinstance(each, Epoch)]
        state = json.loads((tmp_path / "c" / "d" / "save-000003" / "state.json").read_text())
        assert [each["seconds"] for each in state["reports"]] == seconds


def test_training_that_restores_nothing_is_noted(tmp_path: Path) -> None:
    with Own(tmp_path, COUNTS) as own:
        own.trained(epochs=2, checkpoints=tmp_path / "c")
        assert "without trial.restore()" not in own.log
        own.train(epochs=3, checkpoints=tmp_path / "c")
        assert "trial 0: goes on after epoch 2 without trial.restore()" in own.log


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for 4 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if not mounted or mounted.returncode:
        pytest.skip("a file system can be mounted by root alone")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


FILLS = """
    def write(folder, megabytes):
        try:
            with open(folder / "net", "wb") as file:
                for _ in range(megabytes):
                    file.write(bytes(1 << 20))
        except OSError as error:
            raise {raised}
    def train(trial):
        for epoch in trial.epochs():
            try:
                trial.save(lambda folder: write(folder, 1 if epoch == 1 else 9))
            except Exception:
                pass
            trial.report(epoch, score=epoch)
"""


@pytest.mark.parametrize("raised", ["error", "RuntimeError('file write failed') from error"])
def test_full_disk_is_told_as_such_and_leaves_nothing_half(tmp_path: Path, small_disk: Path, raised: str) -> None:
    with Own(tmp_path, FILLS.format(raised=raised)) as own:
        said = own.trained(checkpoints=small_disk / "c")
        why, retry = failure(said)
        assert (why.kind, why.text, retry) == ("disk", "No space left on device", True)
        assert list(epochs(said)) == [1]
        assert sorted(each.name for each in (small_disk / "c").iterdir()) == ["save-000001"]
        own.again()
        assert history(own.trained(checkpoints=small_disk / "c")) == [1]


def test_save_that_raises_for_a_reason_of_its_own_fails_as_the_function(tmp_path: Path) -> None:
    with Own(tmp_path, lines("trial.save(lambda folder: open(folder / 'a' / 'b'))")) as own:
        why, retry = failure(own.trained(checkpoints=tmp_path / "c"))
        assert (why.kind, retry) == ("error", True)
        assert why.text.startswith("FileNotFoundError:")
        assert list((tmp_path / "c").iterdir()) == []


# What can't begin


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("import no_such_one", r"can't be imported by .*: ModuleNotFoundError: No module named 'no_such_one'"),
        ("x = 1\ndef train(trial)\n    pass", r"can't be imported by .*: SyntaxError: .* \(train.py, line 2\)"),
        ("raise SystemExit(3)", r"can't be imported by .*: SystemExit: 3 \(train.py, line 1\)"),
        ("def trian(trial): pass", "train.py: has no function train: did you mean trian?"),
        ("def a(trial): pass\ndef b(): pass", "train.py: has no function train. It has a, b."),
        ("train = 3", "train.py: train is a int, not a function"),
        ("def train(): pass", r"train.py: train\(\) can't be called with the trial alone: def train\(trial\)"),
        ("def train(trial, data): pass", r"train.py: train\(trial, data\) can't be called with the trial alone"),
        ("async def train(trial): pass", "train is async or yields: it has to be a plain function"),
        ("def train(trial): yield 1", "train is async or yields: it has to be a plain function"),
        (
            "def train(trial): return trial.params['layer'] + trial.params['lr'] + trial.params['b']",
            r"train.py: train asks trial.params for b, layer \(did you mean layers\?\), which \[space\] does not have. "
            r"\[space\] has lr, layers. One that may be missing is asked for by trial.params.get\(...\)",
        ),
    ],
)  # fmt: skip
def test_function_that_can_not_be_called_is_refused_with_the_reason(tmp_path: Path, source: str, text: str) -> None:
    with Own(tmp_path, source) as own:
        assert re.search(text, own.refusal())


def test_parameter_that_may_be_missing_is_not_refused(tmp_path: Path) -> None:
    source = lines("trial.params['new'] = 1", "if 'b' in trial.params: trial.params['b']", "return trial.params['new']")
    with Own(tmp_path, source + "\ntrain.seen = True") as own:
        assert isinstance(own.trained()[-1], Finished)


def test_file_that_is_gone_or_another_is_refused(tmp_path: Path) -> None:
    with Own(tmp_path, "def train(trial): return 1") as own:
        own.ready()
        own.file.write_text("def train(trial): return 2")
        own.again()
        assert re.search(
            r"train.py: has changed, or is another version: its SHA-256 is \w{12}\.\.\., and was", own.refusal()
        )
        own.file.unlink()
        own.again()
        assert own.refusal() == f"{own.file}: can't be read (No such file or directory)"


def test_interpreter_that_can_not_be_started_is_refused(tmp_path: Path) -> None:
    with Own(tmp_path, "def train(trial): return 1", python=str(tmp_path / "python")) as own:
        assert own.refusal() == f"[train] python: {tmp_path}/python can't be started (No such file or directory)"


# What surrounds it


def test_neighbours_of_the_file_are_its_own_and_break_nothing(tmp_path: Path) -> None:
    """Its `json.py` is what it imports by that name, and not what we do; so is `messages.py`, of which we have one."""
    for name in ("json", "queue", "messages", "child", "signal"):
        (tmp_path / f"{name}.py").write_text(f"mine = '{name}'")
    for name in ("model", "search", "studies"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"mine = '{name}'")
    source = "import json, queue, messages, child, signal, model, search, studies\n" + lines(
        "trial.log(' '.join(each.mine for each in (json, queue, messages, child, signal, model, search, studies)))",
        "return trial.report(3, score=1) and None",
    )
    with Own(tmp_path, source) as own:
        said = own.trained()
        assert Said(trial=0, text="json queue messages child signal model search studies") in said
        assert isinstance(said[-1], Finished)


def test_file_may_be_called_as_a_module_of_python(tmp_path: Path) -> None:
    for name in ("json.py", "os.py", "my-training.py"):
        with Own(tmp_path / name, "import json\ndef train(trial): return 1", name=name) as own:
            assert isinstance(own.trained()[-1], Finished)


def test_processes_of_its_own_find_its_functions(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('not this one')")
    source = """
        from __future__ import annotations
        import multiprocessing
        def half(value: NotDefined): return value / 2
        def train(trial):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                return pool.map(half, [1])[0]
    """
    with Own(tmp_path, source) as own:
        assert epochs(own.trained()) == {3: {"score": 0.5}}
        assert not own.process.outgrown()  # the tracker that multiprocessing has started belongs to the interpreter


def test_function_has_the_users_environment_without_our_passwords(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = ("ALEXSEARCH_STORAGE", "ALEXSEARCH_STORAGE_PASSWORD_FILE", "ALEXSEARCH_DASHBOARD_PASSWORD")
    for name in (*secrets, "ALEXSEARCH_DASHBOARD_TOKEN", "PGPASSWORD", "PGPASSFILE"):
        monkeypatch.setenv(name, "canary")
    monkeypatch.setenv("WANDB_API_KEY", "theirs")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    body = (
        "import os",
        "trial.log(' '.join(name for name in os.environ if os.environ[name] == 'canary') + '.')",
        "trial.log(' '.join(map(os.environ.get, ('WANDB_API_KEY', 'KERAS_BACKEND', 'OMP_NUM_THREADS'))))",
        "trial.log(os.getcwd())",
        "os.chdir('/')",
        "return 1",
    )
    with Own(tmp_path, lines(*body)) as own:
        own.ready()
        for _ in range(2):
            texts = [each.text for each in own.train() if isinstance(each, Said)]
            assert texts == [".", "theirs torch 1", str(Path.cwd())]


def other_pythons() -> list[str]:
    """Interpreters that are not ours, of other versions if there are any."""
    named = [shutil.which(f"python3.{minor}") for minor in (8, 9, 10, 12, 13, 14)]
    kept = []
    for python in (*named, "/usr/bin/python3"):
        if python and Path(python).exists():
            asked = subprocess.run(
                [python, "-c", "import sys; print(sys.version_info >= (3, 8))"], capture_output=True, check=False
            )
            if asked.stdout.strip() == b"True":
                kept.append(python)
    return kept


def test_its_file_is_python_3_8_and_imports_pythons_own_library_alone() -> None:
    tree = ast.parse(Path(own_trial.__file__).read_bytes(), feature_version=(3, 8))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {
        name
        for node in imports
        for name in ([a.name for a in node.names] if isinstance(node, ast.Import) else [node.module])
    }
    assert {str(name).partition(".")[0] for name in names} <= sys.stdlib_module_names


def test_any_python_from_3_8_trains_without_any_package(tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    for number, python in enumerate([str(bare / "bin" / "python"), *other_pythons()]):
        folder = tmp_path / str(number)
        with Own(folder, COUNTS, python=python) as own:
            said = own.trained(checkpoints=folder / "c")
            assert list(epochs(said)) == [1, 2, 3]
            assert isinstance(said[-1], Finished)
        with Own(folder, "def train(trial): return trial.params['x']", python=python) as own:
            assert "asks trial.params for x" in own.refusal()


def test_parameter_that_a_trial_does_not_have_is_told_beside_those_that_it_has(tmp_path: Path) -> None:
    source = """
        import pickle

        def rate(params):
            return params["gama"]

        def train(trial):
            assert type(pickle.loads(pickle.dumps(trial.params))) is dict
            assert trial.params.get("gama") is None
            return rate(trial.params)
    """
    with Own(tmp_path, source) as own:
        failed, _ = failure(own.trained())
    assert "KeyError: 'gama' (train.py, line 5); trial.params has " in failed.text
