"""Recipes: written whole or not at all, read back the same, checked whole, and honest about having been edited."""

from __future__ import annotations

import errno
import json
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.config import DataSpec, EpochMetrics, TrainConfig
from search.base.mistakes import InputError
from search.retraining.recipe import Recipe, make_recipe, read_recipe, recipe_toml, write_recipe
from search.retraining.recipes import write_recipes
from search.space.files import load_space
from search.space.parameters import contains


def recipe_of(**changes: Any) -> Recipe:
    epoch = {"loss": 1.5, "accuracy": 0.3, "val_loss": 1.4, "val_accuracy": 0.41, "learning_rate": 0.01, "seconds": 7.0}
    values: dict[str, Any] = {
        "study": "quick",
        "study_uid": "0a1b2c3d",
        "trial": 7,
        "value": 0.6123,
        "config": TrainConfig(
            batch_size=32,
            learning_rate=1e-05,
            epochs=3,
            schedule="step",
            step_epochs=(1, 2),
            step_factor=0.1,
            seed=5,
            precision="bfloat16",
        ),
        "data": DataSpec(train_images=4000, validation_images=1000),
        "data_fingerprint": "sha256:0123",
        "versions": {"python": "3.11.7", "tensorflow": "2.21.0"},
        "git_commit": "abc123",
        "device": "CPU, 2 cores",
        "history": [EpochMetrics(epoch=number, **epoch) for number in (1, 2, 3)],
        "created": datetime(2026, 1, 31, 12, tzinfo=UTC),
    }
    return make_recipe(**{**values, **changes})


def refused(path: Path) -> tuple[str, ...]:
    with pytest.raises(InputError) as caught:
        read_recipe(path)
    assert all("\n" not in mistake for mistake in caught.value.mistakes)
    return caught.value.mistakes


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A written recipe."""
    write_recipe(recipe_of(), tmp_path / "best.toml")
    return tmp_path / "best.toml"


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
finite = st.floats(allow_nan=False, allow_infinity=False)
epochs = st.builds(
    EpochMetrics,
    epoch=st.integers(1, 10**9),
    loss=finite,
    accuracy=finite,
    val_loss=finite | st.none(),
    val_accuracy=finite | st.none(),
    learning_rate=finite,
    seconds=finite,
)
configs = st.builds(
    TrainConfig,
    batch_size=st.integers(1, 10**6),
    learning_rate=st.floats(0, 1e3, exclude_min=True),
    epochs=st.integers(1, 100_000),
    seed=st.integers(0, 2**32 - 1),
    precision=st.sampled_from(["float32", "bfloat16"]),
)
data_specs = st.builds(
    DataSpec, source=texts, train_images=st.integers(1) | st.none(), validation_images=st.integers(1, 2**63)
)


@settings(max_examples=150, deadline=None)
@given(
    study=texts,
    value=st.floats(0, 1),
    config=configs,
    data=data_specs.filter(lambda data: (data.train_images or 0) < 2**63),
    data_fingerprint=texts,
    versions=st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), texts, max_size=3),
    git_commit=texts | st.none(),
    device=texts,
    history=st.lists(epochs, max_size=3),
)
def test_what_is_written_is_read_back_whatever_it_says(**values: Any) -> None:
    recipe = recipe_of(**values)
    document = tomllib.loads(recipe_toml(recipe, "a \x1b[31m\n.toml"))
    document["curve"]["epochs"] = tuple(document["curve"]["epochs"])
    assert Recipe.model_validate(document, strict=True) == recipe
    assert not recipe.edited


def test_a_file_gives_the_recipe_back(path: Path) -> None:
    recipe = read_recipe(path)
    assert recipe == recipe_of()
    assert not recipe.edited
    assert recipe.created == "2026-01-31T12:00:00Z"
    assert [epoch.epoch for epoch in recipe.history] == [1, 2, 3]
    assert [entry.name for entry in path.parent.iterdir()] == ["best.toml"]


def test_the_file_explains_itself(path: Path) -> None:
    text = path.read_text()
    assert "#   alexsearch retrain best.toml\n" in text
    assert text.startswith('# The configuration of trial 7 of study "quick", validation accuracy 0.6123.\n')
    for key in TrainConfig.model_fields.keys() - {"network"}:
        row = next(row for row in text.splitlines() if row.startswith(f"{key} ="))
        assert "  # " in row
    assert all(len(row) <= 120 for row in text.splitlines())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("batch_size = 32", "batch_size = 64"),
        ("learning_rate = 1e-05", "learning_rate = 0.1"),
        ("train_images = 4000", ""),
        ('data_fingerprint = "sha256:0123"', 'data_fingerprint = "sha256:4567"'),
        ("seed = 5", "seed = 6"),
    ],
)
def test_an_edit_of_what_matters_is_told_and_not_refused(path: Path, old: str, new: str) -> None:
    edit(path, old, new)
    assert read_recipe(path).edited


def test_comments_spelling_and_remarks_are_no_edits(path: Path) -> None:
    edit(path, "learning_rate = 1e-05", "learning_rate = 0.00001 # mine")
    edit(path, 'device = "CPU, 2 cores"', "device = 'another'")
    assert not read_recipe(path).edited


@pytest.mark.parametrize(
    ("old", "new", "phrase"),
    [
        ("batch_size = 32", "batch_size = 0", "[config]: batch_size must be >= 1, but is 0."),
        ("batch_size = 32", 'batch_size = "32"', '[config]: batch_size must be a whole number, but is "32".'),
        ("batch_size", "batchsize", "[config]: unknown key batchsize. Did you mean batch_size?"),
        ("epochs = 3", "epochs = 100001", "[config]: epochs must be <= 100000, but is 100001."),
        ('precision = "bfloat16"', 'precision = "auto"', '[config]: precision must be "float32" or "bfloat16"'),
        ('precision = "bfloat16"', 'precision = "int8"', '[config]: precision must be "auto", "float32" or "bfloat16"'),
        ("step_factor = 0.1", "", '[config]: schedule = "step" needs both step_epochs and step_factor'),
        ("step_epochs = [1, 2]", "step_epochs = [2, 1]", "must rise, as in [10, 20], but is [2, 1]."),
        ("loss = 1.5", "loss = nan", "[curve.epochs, item 1]: loss must be a finite number, but is nan."),
        ("epoch = 2", "epoch = 0", "[curve.epochs, item 2]: epoch must be >= 1, but is 0."),
        ("value = 0.6123", "value = 1.5", "value must be <= 1, but is 1.5."),
        ("trial = 7", "trial = -1", "trial must be >= 0, but is -1."),
        ('created = "2026-01-31T12:00:00Z"', 'created = "today"', "created must be a time as in"),
        ('tensorflow = "2.21.0"', "tensorflow = 2.21", "[versions]: tensorflow must be a text in quotes, but is 2.21."),
        ("\n[config]", "\n[config", "is not valid TOML"),
        ("\n[config]", "\n[conf]", "unknown key conf. Did you mean config?"),
        ("\n[config]", "\n[conf]", "config is missing. Add a table [config]; its keys are: batch_size"),
        ("format_version = 1", "format_version = 0", "format_version must be >= 1, but is 0."),
        ("format_version = 1", 'format_version = "1"', "format_version must be a whole number"),
        ("format_version = 1", "", "is not a recipe, or was cut short"),
    ],
)
def test_a_mistake_is_told_with_its_place(path: Path, old: str, new: str, phrase: str) -> None:
    edit(path, old, new)
    found = refused(path)
    assert any(phrase in mistake for mistake in found), found
    assert all(mistake.startswith(str(path)) for mistake in found)


def test_all_mistakes_are_told_at_once(path: Path) -> None:
    edit(path, "batch_size = 32", "batch_size = 0")
    edit(path, "value = 0.6123", "value = 61.23")
    edit(path, "split_seed", "splitseed")
    assert len(refused(path)) == 3


def test_a_later_format_is_refused_with_the_way_out_alone(path: Path) -> None:
    edit(path, "format_version = 1", "format_version = 2\nnew_key = 1")
    (message,) = refused(path)
    assert "format_version is 2, but this alexsearch reads recipes up to 1. Update alexsearch" in message


def test_a_file_cut_anywhere_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    cut = path.with_name("cut.toml")
    for length in [*range(0, len(whole) - 1, 17), len(whole) - 2]:
        cut.write_bytes(whole[:length])
        assert refused(cut)


# As JSON


@pytest.fixture
def json_path(tmp_path: Path) -> Path:
    """The same recipe, written as JSON."""
    write_recipe(recipe_of(), tmp_path / "best.json")
    return tmp_path / "best.json"


def test_a_json_file_gives_the_recipe_back(json_path: Path) -> None:
    assert read_recipe(json_path) == recipe_of()
    assert json.loads(json_path.read_text())["config"]["step_epochs"] == [1, 2]


@pytest.mark.parametrize(
    ("old", "new", "phrase"),
    [
        ('"batch_size": 32', '"batch_size": "32"', '[config]: batch_size must be a whole number, but is "32".'),
        ('"batch_size": 32', '"batch_size": 32, "batch_size": 64', "is not valid JSON: key batch_size is there twice"),
        ('"loss": 1.5', '"loss": NaN', "[curve.epochs, item 1]: loss must be a finite number, but is nan."),
        ('"format_version": 1', '"format_version": 2', "Update alexsearch, or export the recipe again"),
        ('"study": "quick",', '"study": "quick"', "is not valid JSON: Expecting ',' delimiter"),
    ],
)
def test_a_mistake_in_json_is_told_as_one_in_toml(json_path: Path, old: str, new: str, phrase: str) -> None:
    edit(json_path, old, new)
    found = refused(json_path)
    assert any(phrase in mistake for mistake in found), found


def test_a_json_file_cut_anywhere_is_refused(json_path: Path) -> None:
    whole = json_path.read_bytes().rstrip()
    for length in [*range(0, len(whole) - 1, 17), len(whole) - 1]:
        json_path.write_bytes(whole[:length])
        (message,) = refused(json_path)
        assert "Was the file cut short?" in message, (length, message)


@pytest.mark.parametrize("text", ["[]", "3", "null", '"x"'])
def test_json_that_is_no_object_is_refused(json_path: Path, text: str) -> None:
    json_path.write_text(text)
    (message,) = refused(json_path)
    assert "must be a JSON object" in message


# From before


BEFORE = """\
format_version = 1
study = "quick"
trial = 7
value = 0.6123
created = "2026-01-31T12:00:00Z"
device = "CPU"
data_fingerprint = "sha256:0123"
digest = "89c9480ed44eb2cd42c7302dd9e6386efd66cd3320406afb50c75b9caf3f4e26"
[config]
batch_size = 32
learning_rate = 0.01
epochs = 1
schedule = "constant"
seed = 5
precision = "float32"
[data]
source = "cifar10"
train_images = 4000
validation_images = 1000
split_seed = 0
[versions]
[curve]
epochs = []
"""


def test_a_recipe_from_before_a_setting_existed_is_read_and_not_taken_for_edited(path: Path) -> None:
    """A new setting must have a default that means what was done before, and leave the digest as it was."""
    path.write_text(BEFORE)
    recipe = read_recipe(path)
    assert recipe.study_uid is None
    assert not recipe.edited


def test_a_trial_without_known_precision_makes_no_recipe() -> None:
    config = TrainConfig(batch_size=1, learning_rate=0.1, epochs=1)
    with pytest.raises(InputError, match=r'^study "quick", trial 7 \[config\]: precision must be'):
        recipe_of(config=config)


def test_text_that_no_file_can_hold_is_refused() -> None:
    with pytest.raises(InputError, match="device must be text in valid Unicode"):
        recipe_of(device="\ud800")


# Writing


def test_a_folder_or_device_is_not_written_over(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is a folder\. Name a file in it, e\.g\. .*best\.toml"):
        write_recipe(recipe_of(), tmp_path)
    with pytest.raises(InputError, match=r"is a folder\. Name a file in it"):
        write_recipes([recipe_of()], Path(), several=True)
    with pytest.raises(InputError, match="is not an ordinary file"):
        write_recipe(recipe_of(), Path("/dev/null"))


def test_paths_that_can_not_be_written_are_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    for bad in (tmp_path / "file" / "best.toml", tmp_path / ("x" * 300), tmp_path / "a\0b", tmp_path / "loop"):
        with pytest.raises(InputError, match="can't be written"):
            write_recipe(recipe_of(), bad)


def test_folders_on_the_way_are_made_and_links_kept(tmp_path: Path) -> None:
    write_recipe(recipe_of(), tmp_path / "a" / "b" / "best.toml")
    link = tmp_path / "link.toml"
    link.symlink_to(tmp_path / "a" / "b" / "best.toml")
    write_recipe(recipe_of(trial=8), link)
    assert link.is_symlink()
    assert read_recipe(tmp_path / "a" / "b" / "best.toml").trial == 8


def test_a_full_disk_leaves_the_earlier_recipe_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(self: Path, text: str, encoding: str) -> int:
        self.write_bytes(text[: len(text) // 2].encode(encoding))
        raise OSError(errno.ENOSPC, "No space left on device")

    write_recipe(recipe_of(), path.with_suffix(".json"))
    monkeypatch.setattr(Path, "write_text", half)
    for each in (path, path.with_suffix(".json")):
        with pytest.raises(OSError, match=rf"{each.name}: can't be written \(No space left on device\)\."):
            write_recipe(recipe_of(trial=8), each)
        assert read_recipe(each).trial == 7
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["best.json", "best.toml"]


@pytest.mark.parametrize("name", ["best", "best.yaml"])
def test_recipe_is_written_as_toml_or_json_and_nothing_else(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=rf"{name}: a recipe is a .toml or a .json file.*best\.toml"):
        write_recipe(recipe_of(), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_recipe_from_before_there_were_other_optimizers_is_not_taken_for_an_edited_one(path: Path) -> None:
    newer = ("warmup_epochs", "optimizer", "momentum", "weight_decay", "dropout", "label_smoothing", "augmentation")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith(newer)))
    recipe = read_recipe(path)
    assert recipe.config == recipe_of().config
    assert not recipe.edited


def test_what_the_report_had_not_comes_back_and_is_in_the_digest() -> None:
    config = TrainConfig(**{**recipe_of().config.model_dump(), "optimizer": "adamw", "weight_decay": 0.01})
    recipe = recipe_of(config=config)
    assert 'optimizer = "adamw"' in recipe_toml(recipe)
    assert recipe.digest != recipe_of().digest


def test_published_recipes_are_what_their_spaces_allow_and_were_not_edited() -> None:
    folder = Path(__file__).parents[1] / "docs" / "searches"
    recipes = sorted(folder.glob("*-best.toml"))
    assert recipes
    for path in recipes:
        recipe = read_recipe(path)
        space = load_space(str(path.with_name(path.name.replace("-best", ""))))
        assert not recipe.edited
        assert (recipe.study, recipe.data) == (space.study.name, space.data)
        for name, parameter in space.parameters().items():
            assert parameter is None or contains(parameter, getattr(recipe.config, name))
