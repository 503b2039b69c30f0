"""Image folders as people have them: other names, no split, odd files; what is passed over is said."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.config import DataError, DataSpec
from model.data import counted, fingerprint, load_test, load_training, split
from model.images import IMAGE_SUFFIXES, read_image
from model.npz import PARTS

CLASSES = ("ant", "bee", "cat")


def picture(number: int, size: tuple[int, int] = (32, 32)) -> Image.Image:
    random = np.random.default_rng(number)
    return Image.fromarray(random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def fill(folder: Path, count: int, classes: tuple[str, ...] = CLASSES, start: int = 0) -> Path:
    for offset, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            picture(start + 100 * offset + number).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with training and test images."""
    fill(tmp_path / "data" / "train", 4)
    fill(tmp_path / "data" / "test", 2, start=1000)
    return tmp_path / "data"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.mark.parametrize("names", [("Train", "Test"), ("TRAIN", "TEST"), ("training", "testing")])
def test_capital_letters_and_longer_names_are_the_same_data(
    names: tuple[str, str], data: Path, cache: Path, tmp_path: Path
) -> None:
    expected = fingerprint(load_training(str(data), cache)), fingerprint(load_test(str(data), cache))
    fill(tmp_path / "other" / names[0], 4)
    fill(tmp_path / "other" / names[1], 2, start=1000)
    other = str(tmp_path / "other")
    assert (fingerprint(load_training(other, cache)), fingerprint(load_test(other, cache))) == expected
    assert load_training(other, cache).notes == ()


def test_two_folders_that_could_be_the_training_images_are_named(data: Path, cache: Path) -> None:
    (data / "train").rename(data / "Train")
    (data / "TRAIN").mkdir()
    with pytest.raises(DataError, match=r"has both TRAIN and Train. Leave out all but one"):
        load_training(str(data), cache)


@pytest.mark.parametrize("name", ["val", "valid", "Validation"])
@pytest.mark.parametrize("with_test", [False, True])
def test_validation_folder_is_the_validation_set(name: str, with_test: bool, data: Path, cache: Path) -> None:
    plain = fingerprint(load_training(str(data), cache))
    fill(data / name, 3, start=2000)
    if not with_test:
        (data / "test").rename(data.parent / "aside")
    training = load_training(str(data), cache)
    parts = split(training, DataSpec(source=str(data)))
    assert (len(parts.train), len(parts.validation)) == (12, 9)
    assert training.has_test == with_test
    assert "its own 9 validation images are used, and nothing is held out" in training.notes
    assert any("no test set" in note for note in training.notes) != with_test
    assert fingerprint(training) != plain
    assert counted(str(data)) == (12, True, 3)


def test_class_folders_alone_are_split_by_class_and_always_alike(tmp_path: Path, cache: Path) -> None:
    path = fill(tmp_path / "data", 11)
    training, test = load_training(str(path), cache), load_test(str(path), cache)
    assert np.bincount(training.labels).tolist() == [9, 9, 9]
    assert np.bincount(test.labels).tolist() == [2, 2, 2]
    assert not {one.tobytes() for one in training.images} & {one.tobytes() for one in test.images}
    assert any("of each class a fifth was set aside as the test set, 6 of 33 images" in note for note in training.notes)
    again = fill(tmp_path / "again", 11)
    assert fingerprint(load_training(str(again), cache)) == fingerprint(training)
    picture(5000).save(path / "ant" / "new.png")
    assert fingerprint(load_training(str(path), cache)) != fingerprint(training), "another split is another study"


def test_class_folder_with_one_image_cannot_be_split(tmp_path: Path, cache: Path) -> None:
    path = fill(tmp_path / "data", 1)
    with pytest.raises(DataError, match="ant has 1 image, but a split into training and test needs 2"):
        load_training(str(path), cache)


@pytest.mark.parametrize("suffix", [".webp", ".bmp", ".gif", ".tif", ".TIFF", ".jfif", ".jpe"])
def test_every_format_that_predict_reads_is_read(suffix: str, data: Path, cache: Path) -> None:
    file = data / "train" / "bee" / f"9{suffix}"
    image = picture(7)
    if suffix == ".gif":
        image.save(file, save_all=True, append_images=[picture(8)])
    else:
        image.save(file, "JPEG" if suffix in {".jfif", ".jpe"} else None)
    training = load_training(str(data), cache)
    assert len(training) == 13
    assert np.array_equal(training.images[8], read_image(file))
    assert np.abs(training.images[8].astype(int) - np.asarray(image)).mean() < 60, "the first frame"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_picture_is_turned_as_its_exif_says(orientation: int, data: Path, cache: Path) -> None:
    upright = np.zeros((64, 64, 3), np.uint8)
    upright[:32, :32] = (255, 0, 0)
    upright[:32, 32:] = (0, 255, 0)
    stored = Image.fromarray(upright)
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the transposition that the camera's turn amounts to
    if orientation in undo:
        stored = stored.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = data / "train" / "ant" / "turned.png"
    stored.save(file, exif=exif)
    assert read_image(file)[4, 4].tolist() == [255, 0, 0]
    assert read_image(file)[4, 27].tolist() == [0, 255, 0]
    assert np.array_equal(load_training(str(data), cache).images[4], read_image(file))


def test_damaged_exif_turns_nothing(tmp_path: Path) -> None:
    picture(1).save(tmp_path / "plain.png")
    picture(1).save(tmp_path / "damaged.png", exif=b"Exif\x00\x00MM\x00\x2a\xff\xff\xff\xff")
    assert np.array_equal(read_image(tmp_path / "damaged.png"), read_image(tmp_path / "plain.png"))


def test_what_is_passed_over_is_said(data: Path, cache: Path) -> None:
    plain = fingerprint(load_training(str(data), cache))
    for name in ("train/__MACOSX", "train/.cache", "docs"):
        (data / name).mkdir()
    (data / "train" / "cat" / "more").mkdir()
    picture(1).save(data / "train" / "cat" / "more" / "1.png")
    picture(2).save(data / "train" / "loose.png")
    for name in ("notes.txt", "a.heic", "b.heic", ".hidden.png", "Thumbs.db"):
        (data / "train" / "bee" / name).touch()
    training = load_training(str(data), cache)
    assert fingerprint(training) == plain
    assert training.notes == (
        "passed over, being no class: docs/, train/.cache/, train/__MACOSX/",
        "passed over, being folders inside a class: train/cat/more/. Move their images up",
        "passed over, being in no class folder: 1 image of train/",
        "passed over, being no images: 2 .heic, 1 .txt",
    )


def test_sizes_that_were_brought_to_the_networks_are_said_again_from_the_cache(data: Path, cache: Path) -> None:
    for number, size in enumerate([(28, 28), (64, 64), (224, 160), (40, 41)]):
        picture(number, size).save(data / "train" / "ant" / f"large{number}.png")
    for _ in range(2):
        assert load_training(str(data), cache).notes == (
            "images were resized from 28x28, 40x41, 64x64 and 1 more sizes to 32x32 (bilinear, antialiased)",
        )


def test_class_that_is_missing_in_test_is_a_warning_and_one_missing_in_training_an_error(
    data: Path, cache: Path
) -> None:
    (data / "test" / "bee").rename(data.parent / "aside")
    training = load_training(str(data), cache)
    assert training.notes == (f"{data / 'test'} has no folder for bee: nothing is measured there",)
    assert np.bincount(load_test(str(data), cache).labels).tolist() == [2, 0, 2]
    (data.parent / "aside").rename(data / "test" / "emu")
    with pytest.raises(DataError, match=r"train has no folder for emu, which .*test has"):
        load_training(str(data), cache)


def spoil(data: Path, count: int) -> list[Path]:
    files = sorted((data / "train").rglob("*.png"))[::2][:count]
    for file in files:
        file.write_bytes(b"")
    return files


def test_all_unreadable_images_are_named_at_once(data: Path, cache: Path) -> None:
    spoilt = spoil(data, 4)
    with pytest.raises(DataError, match=r"4 images can't be used.*--skip-unreadable") as caught:
        load_training(str(data), cache)
    assert all(str(file) in str(caught.value) for file in spoilt)
    assert "\n" not in str(caught.value)


def test_beyond_twenty_unreadable_images_their_number_is_said(data: Path, cache: Path) -> None:
    for number in range(25):
        (data / "train" / "ant" / f"bad{number}.png").write_text("no image")
    with pytest.raises(DataError, match=r"25 images can't be used: .*; and 5 more. Replace"):
        load_training(str(data), cache)


def test_unreadable_images_are_passed_over_only_when_told(data: Path, cache: Path) -> None:
    spoilt = spoil(data, 3)
    for _ in range(2):
        training = load_training(str(data), cache, skip_unreadable=True)
        assert len(training) == 9
        assert training.notes[0].startswith("3 passed over: ")
        assert all(str(file) in training.notes[0] for file in spoilt)
    with pytest.raises(DataError, match="3 images can't be used"):
        load_training(str(data), cache)


def test_class_of_which_no_image_can_be_read_is_an_error_all_the_same(data: Path, cache: Path) -> None:
    for file in (data / "train" / "bee").iterdir():
        file.write_bytes(b"")
    with pytest.raises(DataError, match="no image of bee in train can be read"):
        load_training(str(data), cache, skip_unreadable=True)


def test_folder_above_the_data_is_told_where_it_is(data: Path, cache: Path) -> None:
    with pytest.raises(DataError, match=f"has no folder train/.* {data} has one: name that"):
        load_training(str(data.parent), cache)


def test_images_are_counted_without_being_opened(data: Path, tmp_path: Path) -> None:
    spoil(data, 12)
    assert counted(str(data)) == (12, False, 3)
    assert counted(str(fill(tmp_path / "classes", 10))) == (24, False, 3)
    assert counted("digits") is None
    assert counted(str(tmp_path / "nothing")) is None


def test_documentation_lists_every_suffix_and_every_name_of_a_part() -> None:
    text = (Path(__file__).parent.parent / "docs" / "data.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"[\w.]+", text.lower()))
    assert listed >= IMAGE_SUFFIXES
    assert listed >= {word for words in PARTS.values() for word in words}
