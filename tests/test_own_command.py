"""A program in any language as a training of one's own. Real processes, no slot."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from own_programs import Own, epochs, failure, history

from search.training.child import ChildError
from search.training.messages import Finished, OpenOwn, ProgramFound, Said, Train, Verdict, from_own

PROGRAMS = Path(__file__).parent / "programs"


def shell(*said: str | Mapping[str, object]) -> str:
    """A program that reads a trial, says these things and waits for the next."""
    lines = [each if isinstance(each, str) else f"echo '{json.dumps(each)}'" for each in said]
    return "\n".join(["#!/bin/sh", """echo '{"kind": "ready"}'; read -r open; read -r train""", *lines, "read -r more"])


def command(folder: Path, source: str) -> Own:
    return Own(folder, source, name="train.sh", function=None, epoch_seconds=10)


def test_shell_program_trains_one_trial_after_another_and_goes_on_after_a_kill(tmp_path: Path) -> None:
    with command(tmp_path, (PROGRAMS / "train.sh").read_text()) as own:
        ready = own.ready()
        assert ready.data == ProgramFound(source="./train.sh", fingerprint=own.program.sha256, versions={})
        said = own.train(checkpoints=tmp_path / "c", epochs=2)
        assert epochs(said) == {1: {"score": 0.1}, 2: {"score": 0.2}}
        assert said[-1] == Finished(trial=0)
        assert list(epochs(own.train(trial=1, goes_on=lambda epoch: epoch < 2))) == [1, 2]
        assert "a line for people: trial 1" in own.log
        own.again()
        said = own.trained(checkpoints=tmp_path / "c", epochs=3)
        assert history(said) == [1, 2]
        assert list(epochs(said)) == [3]


def test_c_program_of_a_few_lines_is_a_training(tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    subprocess.run([compiler, "-o", tmp_path / "train", PROGRAMS / "train.c"], check=True)
    with Own(tmp_path, None, name="train", function=None) as own:
        ready = own.ready()
        assert isinstance(ready.data, ProgramFound)
        assert set(ready.data.versions) == {"cc"}
        said = own.train(epochs=1)
        assert epochs(said) == {1: {"score": 0.1}}
        assert said[-1] == Finished(trial=0, reusable=False)
        assert own.process.outgrown()


SAYS = {"kind": "report", "trial": 0, "epoch": 1, "values": {"score": 1}}


@pytest.mark.parametrize(
    ("said", "kind", "text"),
    [
        (SAYS | {"values": {"score": float("nan")}}, "diverged", "score became nan in epoch 1"),
        (
            SAYS | {"values": {"score": "0.9"}},
            "error",
            "./train.sh reported score = '0.9' in epoch 1, which is not a number",
        ),
        (
            SAYS | {"values": {"loss": 1}},
            "error",
            "./train.sh reported loss in epoch 1, but not score, the study's metric",
        ),
        (SAYS | {"epoch": 4}, "error", "./train.sh reported epoch 4, but 3 is the last"),
        (SAYS | {"epoch": 1.5}, "error", "./train.sh reported epoch 1.5, but epochs are whole numbers from 1"),
        (SAYS | {"values": []}, "error", "./train.sh reported no number in epoch 1"),
        ({"kind": "finished"}, "error", "./train.sh reported nothing. Report score"),
    ],
)
def test_program_is_held_to_the_rules_of_a_function_and_ended_when_it_breaks_them(
    tmp_path: Path, said: dict[str, object], kind: str, text: str
) -> None:
    with command(tmp_path, shell(said, "exec sleep 60")) as own:
        why, retry = failure(own.trained())
        assert (why.kind, why.text, retry) == (kind, text, False)
        assert own.process.outgrown()


def test_epoch_that_is_reported_twice_or_backwards_is_told(tmp_path: Path) -> None:
    begun = {"kind": "begun", "reports": [{"epoch": 1, "values": {"score": 1}, "seconds": 1}]}
    with command(tmp_path, shell(begun, SAYS)) as own:
        why, _ = failure(own.trained())
        assert why.text == "./train.sh reported epoch 1 twice"


def test_program_may_leave_out_what_is_known(tmp_path: Path) -> None:
    report = {"kind": "report", "values": {"score": 1, "loss": float("inf")}}
    with command(tmp_path, shell(report, report, {"kind": "log", "text": "on"}, {"kind": "finished"})) as own:
        said = own.trained()
        assert history(said) == []
        assert epochs(said) == {1: {"score": 1}, 2: {"score": 1}}
        assert Said(trial=0, text="on") in said
        assert "not finite in epoch 1, and left out: loss" in own.log


def test_what_is_no_message_is_for_people(tmp_path: Path) -> None:
    printed = ("echo '{not json'", "echo 12", """echo '{"loss": 1}'""", "printf '\\377\\n'", SAYS, {"kind": "finished"})
    with command(tmp_path, shell(*printed)) as own:
        assert list(epochs(own.trained())) == [1]
        for text in ("{not json", "12", '{"loss": 1}', "\\xff"):
            assert text in own.log


def test_message_of_an_unknown_kind_is_told(tmp_path: Path) -> None:
    with command(tmp_path, shell({"kind": "raport"})) as own:
        own.ready()
        with pytest.raises(ChildError, match="said what is not a message of ours"):
            own.train()


def test_file_among_the_arguments_of_a_command_is_checked_too(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("as it was")
    with command(tmp_path, shell({"kind": "finished"})) as own:
        files = ((str(script), hashlib.sha256(b"as it was").hexdigest()),)
        own.program = own.program.model_copy(update={"arguments": (str(script),), "files": files})
        own.again()
        assert own.ready().data.fingerprint == own.program.fingerprint != own.program.sha256
        script.write_text("another")
        own.again()
        assert own.refusal().startswith(f"{script}: has changed, or is another version")


def test_program_that_reads_no_verdict_is_not_waited_for(tmp_path: Path) -> None:
    loop = """i=0; while [ $i -lt 3000 ]; do echo '{"kind": "report", "values": {"score": 1}}'; i=$((i+1)); done"""
    with command(tmp_path, shell(loop, {"kind": "finished"})) as own:
        said = own.trained(epochs=3000)
        assert len(epochs(said)) == 3000
        assert isinstance(said[-1], Finished)


def test_program_that_ends_or_hangs_is_told(tmp_path: Path) -> None:
    with command(tmp_path, shell("exit 3")) as own:
        own.ready()
        with pytest.raises(ChildError, match="training process ended with code 3"):
            own.train()


def test_program_that_is_missing_changed_or_can_not_be_started_is_refused(tmp_path: Path) -> None:
    with command(tmp_path, shell()) as own:
        file = own.file
        file.chmod(0o600)
        own.again()
        assert own.refusal() == f"[train] command: {file} is not executable: chmod +x {file}"
        file.write_text("#!/bin/sh\nexit")
        own.again()
        assert own.refusal().startswith(f"{file}: has changed, or is another version: its SHA-256 is ")
        file.unlink()
        own.again()
        assert own.refusal() == f"[train] command: {file} can't be read (No such file or directory)"
    with command(tmp_path, "#!/no/such/interpreter\n") as own:
        assert own.refusal() == f"[train] command: {file} can't be started (No such file or directory)"
    with command(tmp_path, "no program at all") as own:
        assert own.refusal() == f"[train] command: {file} can't be started (Exec format error)"


def test_documented_session_is_what_is_said() -> None:
    told: dict[str, type[OpenOwn | Train | Verdict]] = {"open": OpenOwn, "train": Train, "verdict": Verdict}
    seen = set()
    text = (Path(__file__).parent.parent / "docs" / "training-process.md").read_text()
    for line in text.splitlines():
        if line.startswith("to it  ") and line.endswith("}"):
            said = json.loads(line.removeprefix("to it"))
            assert set(told[said["kind"]].model_fields) == set(said)
            told[said["kind"]].model_validate_json(line.removeprefix("to it"))
            seen.add(said["kind"])
        elif line.startswith("from it  "):
            seen.add(from_own(line.removeprefix("from it")).kind)
    assert seen == {"open", "train", "verdict", "ready", "begun", "report", "finished"}
