"""The file of a network or a training of one's own is found and read before anything starts, and never run for it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from model.config import NetworkSpec
from search.base.mistakes import InputError
from search.space.own import Program, TrainSpec
from search.space.own_files import network_of, program_of

NETWORK = """
raise SystemExit("run")

def build(image_shape, classes, *, width, depth=3): ...
def anything(image_shape, classes, **more): ...
@print
def decorated(): ...
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mynet.py").write_text(NETWORK)
    (tmp_path / "train.py").write_text("raise SystemExit('run')\ndef train(trial): ...\ndef two(a, b): ...\n")
    return tmp_path


def network(folder: Path, name: str, *params: str) -> NetworkSpec:
    return network_of(f"mynet.py:{name}", params, (folder,))


def program(folder: Path, **about: object) -> Program:
    train = TrainSpec.model_validate(about)
    return program_of(train, ("lr",), (folder / "elsewhere", folder), has_epochs=True)


@pytest.mark.parametrize("params", [("width",), ("width", "depth")])
def test_network_that_takes_what_the_space_has_is_found_by_its_path_and_hash(
    folder: Path, params: tuple[str, ...]
) -> None:
    found = network(folder, "build", *params)
    assert (found.file, found.function, len(found.sha256)) == (str(folder / "mynet.py"), "build", 64)


def test_network_that_takes_anything_is_asked_when_it_is_built(folder: Path) -> None:
    assert network(folder, "anything", "whatever").function == "anything"
    assert network(folder, "decorated", "whatever").function == "decorated"


@pytest.mark.parametrize(
    ("name", "params", "lines"),
    [
        ("build", ("widht",), ["does not take widht, which is in [space]. Did you mean width?", "needs width"]),
        ("build", (), ["needs width, which is not in [space]."]),
        ("biuld", ("width",), ["has no function biuld. Did you mean build?"]),
    ],
)
def test_network_that_takes_something_else_is_told_with_both_sides(
    folder: Path, name: str, params: tuple[str, ...], lines: list[str]
) -> None:
    with pytest.raises(InputError) as error:
        network(folder, name, *params)
    for line in lines:
        assert line in str(error.value)
    if name == "build":
        assert "It is `def build(image_shape, classes, *, width, depth=3)`" in str(error.value)


def test_training_is_looked_for_in_one_folder_after_the_other(folder: Path) -> None:
    found = program(folder, function="train.py:train")
    assert (found.file, found.function, found.python) == (str(folder / "train.py"), "train", sys.executable)


@pytest.mark.parametrize(
    ("about", "told"),
    [
        ({"function": "train.py:two"}, "two must take one argument, the trial"),
        ({"function": "trian.py:train"}, r"trian.py: there is no such file in .*elsewhere or "),
        ({"function": "train.py:train", "python": "../env/bin/python"}, "../env/bin/python: there is no such program"),
        ({"command": ("./missing",)}, "./missing: there is no such program in"),
        ({"command": ("no-such-program",)}, "no-such-program: there is no such program on PATH"),
        ({"command": ("./train.py",)}, r"train.py: is not executable. Make it so: chmod \+x"),
    ],
)
def test_training_that_can_not_be_started_is_told(folder: Path, about: dict[str, object], told: str) -> None:
    with pytest.raises(InputError, match=told):
        program(folder, **about)


def test_commands_fingerprint_changes_with_the_files_that_it_is_given(folder: Path) -> None:
    script = folder / "train.sh"
    script.write_text("exit")
    before = program(folder, command=("sh", "train.sh", "--fast"))
    assert before.arguments == (str(script), "--fast")
    script.write_text("exit 1")
    after = program(folder, command=("sh", "train.sh", "--fast"))
    assert before.sha256 == after.sha256
    assert before.fingerprint != after.fingerprint


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({}, "needs either function"),
        ({"function": "a.py:b", "command": ("x",)}, "not both"),
        ({"command": ("x",), "python": "y"}, "python goes with function"),
        ({"function": "train"}, "must be a Python file and the name of a function in it"),
        ({"function": "train.txt:train"}, "must name a Python file"),
        ({"function": "a.py:b", "metric": "a b"}, "must begin with a letter"),
    ],
)
def test_train_table_that_contradicts_itself_is_told(table: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        TrainSpec.model_validate(table)
