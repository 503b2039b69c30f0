"""Space files: what they may say, every mistake told at once, and what a trial makes of them."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_optuna import suggested
from pydantic_core import PydanticUndefined

from model.config import BEYOND, DataSpec, Frozen, TrainConfig, beyond
from search.base.mistakes import InputError
from search.space.budget import StudySpec
from search.space.constraints import ConstraintsSpec
from search.space.files import list_presets, load_space
from search.space.fitting import over
from search.space.hooks import HooksSpec
from search.space.own import ModelSpec, TrainSpec
from search.space.parameters import Choices, Fixed, Range
from search.space.space import NetworkSpace, OwnSpace, SearchSpace, differences, parse_space
from search.space.tables import SpaceTable

optuna.logging.set_verbosity(optuna.logging.WARNING)

GOOD = """
[study]
name = "good"
trials = 20
seed = 3
[data]
train_images = 400
[space]
batch_size = { choices = [16, 32] }
learning_rate = { low = 1e-4, high = 0.1, log = true }
schedule = { choices = ["constant", "step"] }
epochs = { low = 2, high = 10, step = 2 }
step_epochs = { choices = [[10, 20], 5, [10]] }
step_factor = { low = 0.1, high = 0.5, step = 0.1 }
[pruner]
name = "median"
[baseline]
batch_size = 32
learning_rate = 0.001
schedule = "step"
epochs = 4
step_epochs = [10]
step_factor = 0.3
"""


def changed(key: str, line: str) -> str:
    """GOOD with another line for a key, given as "table.key"; with one more where the table has no such key."""
    table, name = key.split(".")
    head, start, rest = GOOD.partition(f"[{table}]\n")
    inside, next_table, tail = rest.partition("\n[")
    rows = [row for row in inside.split("\n") if not row.startswith(f"{name} =")]
    return head + start + "\n".join([*rows, line]) + next_table + tail


def space_of(text: str = GOOD) -> SearchSpace:
    return parse_space(tomllib.loads(text), "good.toml")


def mistakes(text: str) -> tuple[str, ...]:
    with pytest.raises(InputError) as caught:
        parse_space(tomllib.loads(text), "good.toml")
    return caught.value.mistakes


BAD: list[tuple[str, str, str]] = [
    # [study]
    ("study.name", "", "[study]: name is missing. Add it, e.g. name = "),
    ("study.name", 'name = ""', "[study]: name must not be empty, but is"),
    ("study.name", f'name = "{"x" * 101}"', "[study]: name must have at most 100 characters"),
    ("study.name", 'name = "Alexsearch.db"', "must not be one of alexsearch.db, data,"),
    ("study.name", 'name = "../up"', "[study]: name must be letters a to z"),
    ("study.name", 'name = ".."', "[study]: name must be letters a to z"),
    ("study.name", 'name = "a\\nb"', 'but is "a\\u000ab"'),
    ("study.name", 'name = "-rf"', "start and end with a letter or digit"),
    ("study.name", "name = 7", "[study]: name must be a text in quotes, but is 7."),
    ("study.trials", "trials = 0", "[study]: trials must be >= 1, but is 0."),
    ("study.trials", "trials = 2.5", "[study]: trials must be a whole number, but is 2.5."),
    ("study.trials", 'trials = "20"', '[study]: trials must be a whole number, but is "20".'),
    ("study.trials", "trials = true", "[study]: trials must be a whole number, but is true."),
    (
        "study.trials",
        "trails = 20",
        "[study]: unknown key trails. Did you mean trials? Known keys: name, trials, timeout, ",
    ),
    ("study.seed", "seed = -1", "[study]: seed must be >= 0, but is -1."),
    ("study.seed", "seed = 4294967296", "[study]: seed must be < 4294967296, but is"),
    # [data]
    ("data.train_images", "train_images = 0", "[data]: train_images must be >= 1, but is 0."),
    ("data.train_images", "validation_images = 0", "[data]: validation_images must be >= 1"),
    ("data.train_images", 'source = ""', "[data]: source must not be empty"),
    ("data.train_images", 'sorce = "digits"', "[data]: unknown key sorce. Did you mean source?"),
    # [space]: fixed values
    ("space.batch_size", "", "[space]: batch_size is missing. Add it, e.g. batch_size = 32."),
    ("space.batch_size", "batch_size = 0", "[space.batch_size]: batch_size must be >= 1, but is 0."),
    ("space.batch_size", "batch_size = 16.0", "[space.batch_size]: batch_size must be a whole number, but is 16.0."),
    ("space.batch_size", "batch_size = 1e400", "[space.batch_size]: batch_size must be a whole number"),
    ("space.batch_size", "batch_size = 2147483648", "[space.batch_size]: batch_size must be <= 2147483647"),
    ("space.batch_size", f"batch_size = 1{'0' * 400}", "[space.batch_size]: batch_size must be"),
    ("space.batch_size", "batch_size = [16, 32]", "For a choice write batch_size = { choices = [16, 32] }."),
    ("space.batch_size", "batch_size = 401", "[space.batch_size]: the largest value must be <= train_images of [data]"),
    ("space.batch_size", "batch_size = 1979-05-27", "batch_size must be a whole number, but is 1979-05-27"),
    ("space.learning_rate", "learning_rate = 0", "[space.learning_rate]: learning_rate must be > 0, but is 0."),
    ("space.learning_rate", "learning_rate = nan", "[space.learning_rate]: learning_rate must be"),
    ("space.learning_rate", "learning_rate = inf", "[space.learning_rate]: learning_rate must be"),
    ("space.learning_rate", 'learning_rate = "0.1"', 'learning_rate must be a number, but is "0.1".'),
    ("space.learning_rate", f"learning_rate = 1{'0' * 400}", "[space.learning_rate]: learning_rate must be"),
    ("space.schedule", 'schedule = "exponential"', 'schedule must be "constant", "step", "cosine" or "linear", but is'),
    ("space.epochs", "epochs = 0", "[space.epochs]: epochs must be >= 1, but is 0."),
    ("space.step_epochs", "step_epochs = [20, 10]", "must rise, as in [10, 20], but is [20, 10]."),
    ("space.step_epochs", "step_epochs = []", "must not be empty"),
    ("space.step_epochs", "step_epochs = [0, 5]", "item 1 of step_epochs must be >= 1, but is 0."),
    (
        "space.step_epochs",
        "step_epochs = 1.5",
        "step_epochs must be a whole number or a list in square brackets, but is 1.5",
    ),
    ("space.step_factor", "step_factor = 1", "[space.step_factor]: step_factor must be < 1, but is 1."),
    # [space]: choices
    ("space.batch_size", "batch_size = { choices = [] }", "[space.batch_size]: choices must not be empty."),
    ("space.batch_size", "batch_size = { choices = 16 }", "[space.batch_size]: choices must be a list"),
    ("space.batch_size", "batch_size = { choices = [16, 0] }", "item 2 of choices must be >= 1, but is 0."),
    ("space.batch_size", "batch_size = { choices = [16, 16] }", "choices has 16 twice. Leave one out."),
    ("space.learning_rate", "learning_rate = { choices = [1, 1.0] }", "choices has 1.0 twice."),
    ("space.batch_size", "batch_size = { choices = [16], log = true }", "[space.batch_size]: unknown key log."),
    ("space.batch_size", "batch_size = { choises = [16] }", "[space.batch_size]: unknown key choises."),
    # [space]: ranges
    ("space.epochs", "epochs = { low = 10, high = 5 }", "low must be <= high, which is 5, but is 10. Swap them."),
    ("space.epochs", "epochs = { low = 10 }", "[space.epochs]: high is missing."),
    ("space.epochs", "epochs = {}", "[space.epochs]: low is missing."),
    ("space.epochs", "epochs = { low = 1.5, high = 5 }", "[space.epochs]: low must be a whole number, but is 1.5."),
    ("space.epochs", "epochs = { low = 0, high = 5 }", "[space.epochs]: low must be >= 1, but is 0."),
    (
        "space.epochs",
        "epochs = { low = 2, high = 5, step = 2 }",
        "the largest value would be 4. Use high = 4, or another",
    ),
    (
        "space.step_factor",
        "step_factor = { low = 0.1, high = 0.5, step = 1e-30 }",
        "step = 1e-30 makes more than 1,000,000,000 values",
    ),
    ("space.epochs", "epochs = { low = 2, high = 6, step = 0 }", "[space.epochs]: step must be > 0, but is 0."),
    ("space.epochs", "epochs = { low = 2, high = 6, step = 0.5 }", "step must be a whole number, but is 0.5."),
    ("space.epochs", "epochs = { low = 2, high = 6, log = 1 }", "[space.epochs]: log must be true or false, but is 1."),
    ("space.epochs", "epochs = { low = 2, hihg = 6 }", "unknown key hihg. Did you mean high?"),
    (
        "space.learning_rate",
        "learning_rate = { low = 0.0, high = 0.1, log = true }",
        "good.toml [space.learning_rate]: low must be > 0 when log = true, but is 0.0. Use a small positive number, "
        "e.g. 1e-5.",
    ),
    ("space.learning_rate", "learning_rate = { low = 0.1, high = 0.3, log = true, step = 0.1 }", "don't go together."),
    ("space.step_factor", "step_factor = { low = 0.1, high = 0.55, step = 0.1 }", "the largest value would be 0.5."),
    (
        "space.step_factor",
        "step_factor = { low = 0.1, high = 1.0 }",
        "[space.step_factor]: high must be < 1, but is 1.0.",
    ),
    ("space.schedule", "schedule = { low = 1, high = 2 }", "[space.schedule]: must be a fixed value or choices"),
    # between the tables
    ("space.schedule", 'schedule = "constant"', '[space.step_epochs]: belongs to schedule = "step"'),
    (
        "space.step_factor",
        "",
        '[space]: step_factor is missing, but schedule can be "step". Add it, e.g. step_factor = 0.1.',
    ),
    # [pruner]
    (
        "pruner.name",
        'name = "medain"',
        '[pruner]: name "medain" is unknown. Did you mean median? Use one of "reach", "median',
    ),
    ("pruner.name", "n_min_trials = 2", "[pruner]: name is missing. Use one of "),
    ("pruner.n_min_trials", "n_min_trials = 0", "[pruner]: n_min_trials must be >= 1, but is 0."),
    ("pruner.n_trials", "n_trials = 5", "[pruner]: unknown key n_trials. Did you mean n_min_trials?"),
    ("pruner.name", 'name = "hyperband"\nmin_resource = 11', "[pruner]: min_resource must be <= the largest epochs"),
    ("pruner.name", 'name = "percentile"\npercentile = 101', "[pruner]: percentile must be <= 100, but is 101."),
    ("pruner.name", 'name = "successive_halving"\nmin_resource = "auto"', "min_resource must be a whole number"),
    # [baseline]
    ("baseline.batch_size", "batch_size = 64", "[baseline.batch_size]: must be a choice of [space], but is 64. Add it"),
    ("baseline.batch_size", "batch_size = 64", "batch_size = { choices = [16, 32, 64] }"),
    ("baseline.batch_size", "batch_size = 0", "[baseline.batch_size]: batch_size must be >= 1, but is 0."),
    ("baseline.batch_size", "", "[baseline]: batch_size is missing, but is searched. Add it, e.g. batch_size = 16."),
    ("baseline.learning_rate", "learning_rate = 0.5", "must be inside { low = 0.0001, high = 0.1, log = true }"),
    ("baseline.epochs", "epochs = 5", "[baseline.epochs]: must be inside { low = 2, high = 10, step = 2 } of [space]"),
    ("baseline.schedule", 'schedule = "constant"', '[baseline.step_factor]: belongs to schedule = "step"'),
    (
        "baseline.step_epochs",
        "",
        "[baseline]: step_epochs is missing, but is searched. Add it, e.g. step_epochs = [10, 20]",
    ),
    ("baseline.step_epochs", "step_epochs = 10", "[baseline.step_epochs]: must be a choice of [space], but is 10."),
    ("baseline.nesterov", "nesterov = true", "[baseline]: unknown key nesterov."),
    # beyond what the report chose between
    ("space.dropout", "dropout = { low = 0.0, high = 1.0 }", "[space.dropout]: high must be < 1, but is 1.0."),
    ("space.optimizer", 'optimizer = "rmsprop"', 'optimizer must be "sgd", "nesterov", "adam" or "adamw", but is'),
    (
        "space.optimizer",
        "optimizer = { low = 1, high = 2 }",
        'as in { choices = ["sgd", "nesterov"] }, but is a range.',
    ),
    ("space.mirrored", "mirrored = 1", "mirrored must be true or false, but is 1."),
    (
        "space.augmentation",
        'augmentation = "crop"',
        'augmentation must be "none", "flip", "flip_shift" or "flip_shift_cutout", but is "crop"',
    ),
    (
        "space.optimizer",
        'optimizer = "adam"\nmomentum = 0.9',
        '[space.momentum]: belongs to optimizer = "sgd" or "nesterov", which this space never takes. Remove it, or '
        'search optimizer = "sgd".',
    ),
    (
        "space.optimizer",
        'optimizer = { choices = ["sgd", "adamw"] }',
        '[space]: weight_decay is missing, but optimizer can be "adamw". Add it, e.g. weight_decay = 0.01.',
    ),
    ("space.optimizer", 'optimizer = "nesterov"', "[space]: momentum is missing, but optimizer can be"),
    ("space.warmup_epochs", "warmup_epochs = 2", "[space.warmup_epochs]: the largest value must be < the smallest ep"),
    ("baseline.dropout", "dropout = 0.3", "[baseline.dropout]: must be what [space] fixes, 0.5, but is 0.3."),
    ("space.dropout", "dropout = { low = 0.0, high = 0.6 }", "[baseline]: dropout is missing, but is searched."),
    ("baseline.momentum", "momentum = 0.9", "[baseline.momentum]: must be what [space] fixes, 0.0, but is 0.9."),
    (
        "space.batch_size",
        "batch_size = 16",
        "[baseline.batch_size]: must be what [space] fixes, 16, but is 32. Leave it out",
    ),
]


@pytest.mark.parametrize(("key", "line", "phrase"), BAD)
def test_a_mistake_is_told_with_its_place_and_the_way_out(key: str, line: str, phrase: str) -> None:
    found = mistakes(changed(key, line))
    assert any(phrase in mistake for mistake in found), found
    assert all(mistake.startswith("good.toml [") and "\n" not in mistake for mistake in found)
    assert all(mistake.endswith((".", "...")) for mistake in found)


def test_all_mistakes_are_told_at_once() -> None:
    text = changed("space.epochs", "epochs = { low = 10, high = 5 }")
    text = text.replace("trials = 20", "trails = 20").replace("train_images = 400", "train_images = 20")
    text = text.replace("low = 1e-4, high = 0.1, log", "low = 0.0, high = 0.1, log").replace('"median"', '"medain"')
    text = text.replace("batch_size = 32", "batch_size = 64")
    expected = [
        "trials is missing",
        "unknown key trails",
        "low must be > 0 when log",
        "Swap them",
        '"medain" is unknown',
    ]
    expected += ["largest value must be <= train_images", "[baseline.batch_size]"]  # between tables, others being wrong
    found = mistakes(text)
    assert len(found) == len(expected)
    for phrase in expected:
        assert sum(phrase in mistake for mistake in found) == 1, (phrase, found)


@pytest.mark.parametrize(
    ("document", "phrase"),
    [
        (
            "",
            "study is missing. Add a table [study]; its keys are: name, trials, ",
        ),
        ("", "space is missing. Add a table [space]; its keys are: batch_size, learning_rate, schedule"),
        (
            "spaces = 1",
            "unknown key spaces. Did you mean space? Known keys: study, data, space, sampler, pruner, baseline, "
            "constraints, hooks.",
        ),
        ("study = 1\nspace = [1]\nbaseline = 'x'\npruner = 3\ndata = []", "study must be a table, but is 1."),
        ("study = 1\nspace = [1]\nbaseline = 'x'\npruner = 3\ndata = []", "space must be a table, but is [1]."),
    ],
)
def test_a_file_of_another_shape_is_refused(document: str, phrase: str) -> None:
    found = mistakes(document)
    assert any(phrase in mistake for mistake in found), found


# Files


def refused(name_or_path: str) -> str:
    with pytest.raises(InputError) as caught:
        load_space(name_or_path)
    assert len(caught.value.mistakes) == 1
    return caught.value.mistakes[0]


def test_an_unknown_preset_is_told_with_the_closest_and_all() -> None:
    message = refused("qick")
    assert 'no preset "qick". Did you mean quick? Presets: beyond, hour, quick, seed, wide.' in message


@pytest.mark.parametrize(
    ("content", "phrase"),
    [
        (b"[study\n", "is not valid TOML"),
        (b"a = [1, 2", "is not valid TOML"),
        (b"a = 1\na = 2\n", "is not valid TOML"),
        (b"a = " + b"9" * 5000, "is not valid TOML"),
        (b"a = " + b"[" * 100_000, "nested too deeply"),
        (b"# ok\na = '\xff\xfe'\n", "line 2 is not UTF-8"),
        (b"#" * 4_000_001, "is larger than 4,000,000 bytes"),
        (b"\x00", "is not valid TOML"),
    ],
)
def test_a_file_that_is_no_toml_is_one_mistake(tmp_path: Path, content: bytes, phrase: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    message = refused(str(path))
    assert message.startswith(f"{path}: ")
    assert phrase in message


def test_paths_that_can_not_be_read_are_one_mistake(tmp_path: Path) -> None:
    assert "there is no such file" in refused(str(tmp_path / "none.toml"))
    assert "is a folder" in refused(str(tmp_path))
    assert "can't be read" in refused(str(tmp_path / ("x" * 300 + ".toml")))
    assert "can't be read" in refused("a\0b.toml")


def test_a_file_with_windows_marks_is_read(tmp_path: Path) -> None:
    path = tmp_path / "space.toml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert load_space(str(path)) == space_of()


# Presets


@pytest.mark.parametrize("name", ["quick", "hour", "seed", "wide"])
def test_preset_loads_with_a_question_and_a_baseline_inside_it(name: str) -> None:
    space = load_space(name)
    assert space.study.name == name
    baseline = space.baseline_config(seed=5)
    (params,) = space.baseline_params()
    assert baseline is not None
    assert params is not None
    assert space.config(params, seed=5) == baseline
    questions = {preset.name: preset.question for preset in list_presets()}
    assert questions[name].endswith("?")
    assert not questions[name].startswith("#")


def test_preset_seed_has_the_settings_of_the_report() -> None:
    space = load_space("seed")
    assert space.baseline_config(seed=0) == TrainConfig(batch_size=32, learning_rate=0.001, epochs=50)
    assert space.data == DataSpec(source="cifar10", train_images=45_000, validation_images=5_000)
    assert space.max_epochs == 50


# Trials


def test_suggested_configs_are_points_of_the_space_with_steps_only_where_they_belong() -> None:
    space = space_of()
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=1))
    schedules = set()
    for number in range(60):
        trial = study.ask()
        config = suggested(space, trial, seed=number)
        assert config.seed == number
        assert config.batch_size in (16, 32)
        assert 1e-4 <= config.learning_rate <= 0.1
        assert config.epochs in (2, 4, 6, 8, 10)
        is_step = config.schedule == "step"
        assert (config.step_epochs in ((10, 20), 5, (10,))) is is_step
        assert ({"step_epochs", "step_factor"} <= trial.params.keys()) is is_step
        assert space.config(study.get_trials()[-1].params, seed=number) == config  # as read back from the storage
        study.tell(trial, config.learning_rate)
        schedules.add(config.schedule)
    assert schedules == {"constant", "step"}


def test_an_enqueued_baseline_is_what_the_first_trial_trains() -> None:
    space = space_of()
    (params,) = space.baseline_params()
    assert params is not None
    assert params["step_epochs"] == "10,"
    study = optuna.create_study()
    study.enqueue_trial(params)
    config = suggested(space, study.ask())
    assert config == space.baseline_config(seed=0)
    assert config.step_epochs == (10,)


def test_fixed_values_are_not_asked_of_the_trial() -> None:
    space = space_of(changed("space.batch_size", "batch_size = 32"))
    trial = optuna.create_study().ask()
    assert suggested(space, trial).batch_size == 32
    assert "batch_size" not in trial.params
    assert "batch_size" not in space.baseline_params()[0]


def test_a_space_without_step_and_baseline_is_enough() -> None:
    text = '[study]\nname = "a"\ntrials = 1\n[space]\nbatch_size = 8\nlearning_rate = 1\nepochs = 3\n'
    space = space_of(text)
    assert space.baseline_params() == []
    assert space.baseline_config(seed=0) is None
    config = suggested(space, optuna.create_study().ask(), seed=9)
    assert config == TrainConfig(batch_size=8, learning_rate=1.0, epochs=3, seed=9)


OPEN = """
[study]
name = "open"
trials = 3
[space]
batch_size = 32
learning_rate = 0.01
epochs = 9
warmup_epochs = { low = 0, high = 8 }
optimizer = { choices = ["sgd", "nesterov", "adam", "adamw"] }
momentum = { low = 0.0, high = 0.9 }
weight_decay = { low = 1e-5, high = 0.1, log = true }
dropout = { low = 0.1, high = 0.6 }
label_smoothing = 0.1
augmentation = { choices = ["flip", "flip_shift"] }
averaging = { low = 0.9, high = 0.999 }
mirrored = { choices = [false, true] }
"""


def test_what_the_report_left_alone_is_asked_where_it_is_opened_and_belongs() -> None:
    space = space_of(OPEN)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    seen = set()
    for _ in range(40):
        trial = study.ask()
        config = suggested(space, trial)
        seen.add(config.optimizer)
        assert ("momentum" in trial.params) is (config.optimizer in ("sgd", "nesterov"))
        assert ("weight_decay" in trial.params) is (config.optimizer != "adam")
        assert 0.1 <= config.dropout <= 0.6
        assert config.label_smoothing == 0.1
        assert config.mirrored is trial.params["mirrored"]
        assert 0 <= config.warmup_epochs < config.epochs
    assert seen == {"sgd", "nesterov", "adam", "adamw"}


def test_space_that_opens_nothing_more_trains_as_the_report() -> None:
    config = suggested(space_of(), optuna.create_study().ask())
    assert beyond(config.model_dump()) == {}


# Stored with the study


def test_space_stored_before_there_was_more_is_the_same_today() -> None:
    today = space_of().to_dict()
    assert not set(today["space"]) & set(BEYOND)
    assert differences(SearchSpace.from_dict(today), space_of()) == []


def test_a_space_is_the_same_after_json() -> None:
    for space in (space_of(), *(load_space(preset.name) for preset in list_presets())):
        again = SearchSpace.from_dict(json.loads(json.dumps(space.to_dict())))
        assert again == space
        assert again.digest() == space.digest()


def test_a_damaged_stored_space_is_told() -> None:
    values = space_of().to_dict()
    values["space"]["epochs"]["low"] = 0
    with pytest.raises(InputError, match=r"^the stored space \[space.epochs\]: low must be >= 1, but is 0\.$"):
        SearchSpace.from_dict(values)


def test_parameter_without_a_value_in_a_stored_space_is_one_line() -> None:
    values = space_of().to_dict()
    values["space"]["epochs"] = None
    del values["baseline"]
    with pytest.raises(InputError) as told:
        SearchSpace.from_dict(values)
    assert str(told.value) == "the stored space [space]: epochs must have a value, but is None."


def test_name_trials_and_path_of_the_data_are_no_differences_and_all_else_is() -> None:
    old = space_of()
    same = old.with_overrides(name="other", trials=99, source="digits")
    assert differences(old, same) == []
    assert same.digest() == old.digest()
    new = old.with_overrides(seed=4)
    assert differences(old, new) == ["[study] seed: was 3, is now 4"]
    assert new.digest() != old.digest()
    fixed = space_of(changed("space.batch_size", "batch_size = 32"))
    assert differences(old, fixed) == ["[space] batch_size: was { choices = [16, 32] }, is now 32"]
    without = SearchSpace.from_dict({key: value for key, value in old.to_dict().items() if key != "baseline"})
    assert differences(without, old)[0] == "[baseline] batch_size: was not there, is now 32"


def test_overrides_are_checked_and_named_as_options() -> None:
    space = space_of()
    with pytest.raises(InputError) as caught:
        space.with_overrides(trials=0, timeout="soon", target=2.0, seed=-1, source="", name="a/b")
    found = caught.value.mistakes
    assert found[1:] == (
        "--trials: must be >= 1, but is 0.",
        '--timeout: must be a time with its unit, as in "90s", "30m", "2h" or "1h 30m", but is "soon".',
        "--target: must be <= 1, but is 2.0.",
        "--seed: must be >= 0, but is -1.",
        '--data: must not be empty, but is "".',
    )
    assert found[0].startswith("--study: must be letters a to z")
    assert space.with_overrides() == space
    limited = space.with_overrides(timeout="1h 30m", max_device_hours=2.5, target=0.7)
    assert limited.study.timeout_seconds == 5400
    assert differences(space, limited) == []
    assert space.with_overrides(source="digits").data == DataSpec(source="digits", train_images=400)


def test_other_data_must_fit_the_space() -> None:
    space = space_of()
    assert space.with_data(DataSpec(source="digits")).data == DataSpec(source="digits")
    with pytest.raises(InputError, match="train_images of"):
        space.with_data(DataSpec(train_images=10))


numbers = st.integers() | st.floats() | st.booleans() | st.text(max_size=5) | st.lists(st.integers(), max_size=3)
ranges = st.dictionaries(st.sampled_from(["low", "high", "log", "step", "choices", "x"]), numbers)
choices = st.fixed_dictionaries({"choices": st.lists(numbers, max_size=4)})
names = ["batch_size", "learning_rate", "schedule", "epochs", "step_epochs", "step_factor", *BEYOND]


@settings(max_examples=300, deadline=None)
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(names, numbers | ranges | choices)))
def test_any_table_makes_trials_or_mistakes(table: dict[str, Any]) -> None:
    base = {"batch_size": 8, "learning_rate": 0.1, "epochs": 2}
    try:
        space = parse_space({"study": {"name": "a", "trials": 1}, "space": {**base, **table}}, "x.toml")
    except InputError as error:
        found = error.mistakes
    else:
        suggested(space, optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask())
        assert SearchSpace.from_dict(json.loads(json.dumps(space.to_dict()))) == space
        return
    assert found
    assert all(line.startswith("x.toml [space") and "\n" not in line for line in found)


def test_importing_needs_neither_tensorflow_nor_optuna() -> None:
    imports = "import sys, search.space.space, search.retraining.recipe"
    code = f"{imports}; print([m for m in ('tensorflow', 'optuna') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("asked", "kept"), [((1500, 500), (1500, 500)), ((None, 1999), (None, 1999)), ((1501, 500), (None, 400))]
)
def test_bundled_images_keep_the_files_split_where_it_fits(
    asked: tuple[int | None, int], kept: tuple[int | None, int]
) -> None:
    space = parse_space(tomllib.loads(GOOD), "good.toml")
    data = space.data.model_copy(update={"train_images": asked[0], "validation_images": asked[1]})
    found = over(space.with_data(data), "synthetic").data
    assert (found.source, found.train_images, found.validation_images) == ("synthetic", *kept)


def test_document_names_every_key_of_every_table_with_its_default() -> None:
    parts = (Path(__file__).parents[1] / "docs" / "space-file.md").read_text(encoding="utf-8").split("\n## ")[1:]
    rows = {
        (part.split("`")[1], key): line
        for part in parts
        for line in part.splitlines()
        if line.startswith("| `")
        for key in line.split(" | ")[0].split("`")[1::2]
    }
    tables: dict[str, list[type[Frozen]]] = {
        "[study]": [StudySpec],
        "[data]": [DataSpec],
        "[model]": [ModelSpec],
        "[train]": [TrainSpec],
        "[space]": [SpaceTable, Choices, Range, Fixed],
        "[constraints]": [ConstraintsSpec],
        "[hooks]": [HooksSpec],
    }
    fields = {
        (table, key): field
        for table, kinds in tables.items()
        for kind in kinds
        for key, field in kind.model_fields.items()
    }
    assert rows.keys() == fields.keys()
    for place, field in fields.items():
        if field.default not in (PydanticUndefined, None):
            told = rows[place].split(" | ")[1].strip("`")
            assert tomllib.loads(f"key = {told}")["key"] == field.default, place
    mentioned = {name for part in parts for name in part.splitlines()[0].split("`") if name.startswith("[")}
    spaces = (SearchSpace, NetworkSpace, OwnSpace)
    assert mentioned == {f"[{table}]" for kind in spaces for table in kind.model_fields}
