"""A space over data that has fewer images than it asks for: as many as fit, and what was changed is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from search.base.mistakes import InputError
from search.cli.main import main
from search.space.files import load_space
from search.space.fitting import fitted, over
from search.space.parameters import Choices, Range
from search.space.space import SearchSpace, parse_space

NONE = {"train_images": None, "validation_images": None}


@pytest.fixture
def data(tmp_path: Path) -> str:
    """36 training images of three classes, none of which can be decoded."""
    for part, count in (("train", 12), ("test", 2)):
        for name in ("ant", "bee", "cat"):
            (tmp_path / "data" / part / name).mkdir(parents=True)
            for number in range(count):
                (tmp_path / "data" / part / name / f"{number}.png").touch()
    return str(tmp_path / "data")


def test_preset_fits_itself_to_a_small_folder_and_says_so(data: str) -> None:
    quick = load_space("quick")
    small = over(quick, data, fit_batches=True)
    assert (small.data.train_images, small.data.validation_images) == (None, 7)
    assert small.parameters()["batch_size"] == 16
    assert small.baseline is not None
    assert small.baseline[0].given()["batch_size"] == 16
    said = "all that are left are trained on, 7 are held out, batch_size is 16, the baseline's is 16"
    assert fitted(quick, small, NONE) == (f"{data} has fewer images than the space asks for: {said}",)


def test_numbers_that_are_asked_for_are_kept_and_the_others_fit(data: str) -> None:
    quick = load_space("quick")
    small = over(quick, data, train_images=9, validation_images=12, fit_batches=True)
    assert (small.data.train_images, small.data.validation_images, small.parameters()["batch_size"]) == (9, 12, 8)
    note = f"{data} has fewer images than the space asks for: batch_size is 8, the baseline's is 8"
    assert fitted(quick, small, {"train_images": 9, "validation_images": 12}) == (note,)
    assert over(quick, data, train_images=20, fit_batches=True).data.validation_images == 7
    assert over(quick, data, validation_images=20, fit_batches=True).data.train_images is None


def test_numbers_without_data_are_checked_like_the_files(data: str) -> None:
    quick = load_space("quick")
    assert over(quick, None, train_images=2000, validation_images=500).data.train_images == 2000
    with pytest.raises(InputError, match="--train-images: must be >= 1, but is 0"):
        over(quick, None, train_images=0)
    with pytest.raises(InputError, match="--validation-images: must be >= 1, but is -3"):
        over(quick, data, validation_images=-3)


def test_enough_images_change_nothing(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "data.npz",
        x_train=np.zeros((5000, 2, 2), np.uint8),
        y_train=np.arange(5000) % 10,
    )
    quick = load_space("quick")
    assert over(quick, str(tmp_path / "data.npz"), fit_batches=True).digest() == quick.digest()
    assert over(quick, "cifar10", fit_batches=True) == quick
    assert over(quick, None, fit_batches=True) == quick
    assert fitted(quick, over(quick, "cifar10", fit_batches=True), NONE) == ()


def test_validation_set_that_is_brought_along_leaves_all_training_images(tmp_path: Path) -> None:
    parts = {f"{letter}_{part}": np.arange(4000) % 10 for letter in "y" for part in ("train", "val")}
    parts |= {f"x_{part}": np.zeros((4000, 2, 2), np.uint8) for part in ("train", "val")}
    np.savez(tmp_path / "data.npz", **parts, allow_pickle=False)
    source = str(tmp_path / "data.npz")
    assert over(load_space("quick"), source, fit_batches=True) == load_space("quick").with_overrides(source=source)


def with_batches(batch_size: object, baseline: int) -> SearchSpace:
    values = load_space("quick").to_dict()
    values["space"]["batch_size"] = batch_size
    values["baseline"]["batch_size"] = baseline
    return parse_space(values, "space")


@pytest.mark.parametrize(
    ("batch_size", "baseline", "fits"),
    [
        ({"choices": [8, 16, 32]}, 32, Choices(choices=(8, 16))),
        ({"choices": [64, 128]}, 64, 16),
        ({"low": 4, "high": 64}, 50, Range(low=4, high=29)),
        ({"low": 4, "high": 64, "step": 10}, 64, Range(low=4, high=24, step=10)),
        ({"low": 24, "high": 64, "step": 10}, 24, 24),
        ({"low": 40, "high": 64}, 50, 16),
        (100, 100, 16),
        (10, 10, 10),
    ],
)
def test_no_batch_is_larger_than_what_is_left(batch_size: object, baseline: int, fits: object, data: str) -> None:
    small = over(with_batches(batch_size, baseline), data, fit_batches=True)
    assert small.parameters()["batch_size"] == fits
    assert small.baseline is not None
    assert int(str(small.baseline[0].given()["batch_size"])) <= min(baseline, 29)


def test_batches_of_a_users_own_file_are_left_alone(data: str) -> None:
    assert over(with_batches(100, 100), data).parameters()["batch_size"] == 100


def test_passing_over_unreadable_images_is_stored_only_where_it_was_asked_for(data: str) -> None:
    quick = load_space("quick")
    skipping = over(quick, data, fit_batches=True, skip_unreadable=True)
    assert skipping.data.skip_unreadable is True
    assert "skip_unreadable" not in over(quick, data).to_dict()["data"]
    values = quick.to_dict()
    values["data"]["skip_unreadable"] = False
    assert parse_space(values, "space").digest() == quick.digest()
    assert SearchSpace.from_dict(skipping.to_dict()).data == skipping.data


def test_command_says_what_it_fitted(data: str, tmp_path: Path) -> None:
    """The images can't be decoded: what was fitted is said before, and all of them are named."""
    result = CliRunner().invoke(
        main, ["run", "quick", "--data", data, "--home", str(tmp_path / "home"), "--gpus", "none"]
    )
    assert result.exit_code == 2
    told = " ".join((result.stdout + result.stderr).split())
    assert f"{data} has fewer images than the space asks for: all that are left are trained on, 7 are held out," in told
    assert "36 images can't be used" in told
    assert "and 16 more" in told


@pytest.mark.slow
def test_picture_sizes_and_what_else_was_understood_are_shown_by_a_run(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for name in ("ant", "bee"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(20):
            picture = Image.fromarray(random.integers(0, 256, (20, 20, 3), dtype=np.uint8))
            picture.save(tmp_path / "data" / name / f"{number}.webp")
    (tmp_path / "data" / "__MACOSX").mkdir()
    command = ["run", "quick", "--data", str(tmp_path / "data"), "--home", str(tmp_path / "home"), "--trials", "1"]
    (tmp_path / "data" / "ant" / "0.webp").write_text("no image")
    result = CliRunner().invoke(main, [*command, "--gpus", "none", "--skip-unreadable"])
    assert result.exit_code == 0, result.stderr
    told = " ".join((result.stdout + result.stderr).split())
    for part in (
        "from 20x20 to 32x32",
        "of each class a fifth was set aside",
        "being no class: __MACOSX/",
        "1 passed over: ",
        "1 complete",
    ):
        assert part in told
