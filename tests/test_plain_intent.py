"""What people write with a plain intent is answered by the one step that mends it."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy.engine import URL, make_url

from search.base.mistakes import InputError
from search.space.files import load_space
from search.training.messages import DataFound
from studies.store.urls import redacted

SPACE = """
[study]
name = "s"
trials = 1
[data]
source = "synthetic"
validation_images = 400
[space]
batch_size = 32
learning_rate = 0.01
epochs = {}
"""


def said(tmp_path: Path, text: str) -> str:
    (tmp_path / "my.toml").write_text(text)
    with pytest.raises(InputError) as caught:
        load_space(str(tmp_path / "my.toml"))
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('{"study": {"name": "s"}}', "JSON"),
        ("study:\n  name: s\n  trials: 4\nspace:\n  batch_size: [16, 32]\n", "YAML"),
        ("# a comment\n- name: s\n", "YAML"),
    ],
)
def test_other_format_is_called_by_its_name(tmp_path: Path, text: str, kind: str) -> None:
    assert f"my.toml: is {kind}, but this file must be TOML" in said(tmp_path, text)


def test_mistake_in_toml_is_still_told_by_its_line(tmp_path: Path) -> None:
    assert "is not valid TOML" in said(tmp_path, "[study]\nname: s\n")


def test_choices_under_another_name_are_told_how_choices_are_written(tmp_path: Path) -> None:
    told = said(tmp_path, SPACE.format("{ values = [5, 10] }"))
    assert "unknown key values. For a choice write epochs = { choices = [5, 10] }" in told


def test_other_data_is_told_by_what_can_be_seen_of_it() -> None:
    found = DataFound(
        source="x.npz", fingerprint="b", source_images=1000, train_images=800, validation_images=200, classes=("a", "b")
    )
    stored = found.model_dump() | {"fingerprint": "a"}
    assert found.told_from(stored) == "as many images and classes, but other pixels, labels or class names"
    assert found.told_from(stored | {"source_images": 50_000, "classes": list("0123456789")}) == (
        "it had 50,000 training images of 10 classes, these are 1,000 of 2"
    )


@pytest.mark.parametrize("folder", ["/home/日本/ü b", "/a%41b", "/what?"])
def test_sqlite_file_is_shown_as_it_is_called_and_read_back(folder: str) -> None:
    shown = redacted(URL.create("sqlite", database=f"{folder}/alexsearch.db"))
    assert "%E6" not in shown
    assert make_url(shown).database == f"{folder}/alexsearch.db"
