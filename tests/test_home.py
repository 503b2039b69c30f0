"""Names come out of databases and recipes: none of them leads out of the home."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.base.home import Home
from search.base.mistakes import InputError

UID = "0123456789abcdef" * 2
HOSTILE = (
    "/etc",
    "../../../other",
    "..",
    ".",
    "",
    "a/b",
    "a\0b",
    "~",
    UID.upper(),
    UID + "0",
    "x" * 5000,
    7,
    None,
    ["/"],
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "home").mkdir()
    return Home(tmp_path / "home")


def test_usual_names_are_as_ever(home: Home) -> None:
    assert home.checkpoints("quick", UID, 3) == home.folder / "quick/checkpoints/0123456789ab/trial-00003"
    assert home.verify("quick", UID) == home.folder / "quick/verify/0123456789ab"


@pytest.mark.parametrize("hostile", HOSTILE)
def test_tampered_uid_stays_in_the_home(home: Home, hostile: str) -> None:
    path = home.checkpoints("quick", hostile, 3)
    assert path.resolve().relative_to(home.folder.resolve()).parts[:2] == ("quick", "checkpoints")
    assert len(path.relative_to(home.folder).parts) == 4
    assert all(len(part) < 200 for part in path.parts)
    assert home.verify("quick", hostile).parent == home.folder / "quick" / "verify"
    assert path != home.checkpoints("quick", UID, 3)


@pytest.mark.parametrize("name", ["/etc", "../..", "..", "", "a/../../b", "x" * 5000, "a\0b", "\n", "\udc80"])
def test_study_of_any_name_stays_in_the_home(home: Home, name: str) -> None:
    for path in (home.checkpoints(name, UID, 0), home.retrain(name, 0), home.log(name, "gpu0"), home.verify(name, UID)):
        assert path.resolve().is_relative_to(home.folder.resolve())
        assert all(
            len(part.encode()) <= 255 and part not in ("", ".", "..") for part in path.relative_to(home.folder).parts
        )


@pytest.mark.parametrize("place", ["quick", "quick/checkpoints", "quick/checkpoints/0123456789ab"])
def test_nothing_is_written_or_removed_through_a_link(home: Home, tmp_path: Path, place: str) -> None:
    checkpoints = home.checkpoints("quick", UID, 0)
    theirs = tmp_path / "theirs"
    link = home.folder / place
    below = theirs / checkpoints.relative_to(link)
    below.mkdir(parents=True)
    (below / "precious").write_text("theirs")
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(theirs)
    with pytest.raises(InputError, match="is a link"):
        home.checkpoints("quick", UID, 0)
    home.forget(checkpoints)  # as it was before somebody put the link there
    assert (below / "precious").read_text() == "theirs"


def test_only_what_lies_in_the_home_is_removed(home: Home, tmp_path: Path) -> None:
    own = home.checkpoints("quick", UID, 0)
    own.mkdir(parents=True)
    home.forget(own)
    assert not own.exists()
    (tmp_path / "theirs").mkdir()
    for path in (tmp_path / "theirs", home.folder / ".." / "theirs", home.folder):
        with pytest.raises(InputError, match="home"):
            home.forget(path)
    assert (tmp_path / "theirs").is_dir()
    assert home.folder.is_dir()


def test_home_itself_may_be_a_link(home: Home, tmp_path: Path) -> None:
    (tmp_path / "linked").symlink_to(home.folder)
    assert Home(tmp_path / "linked").checkpoints("quick", UID, 0).is_relative_to(tmp_path / "linked")


def test_home_may_be_reached_from_a_folder_beside_it(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "beside").mkdir()
    monkeypatch.chdir(tmp_path / "beside")
    reached = Home(Path("../home"))
    own = reached.checkpoints("quick", UID, 0)
    own.mkdir(parents=True)
    reached.forget(own)
    assert not home.checkpoints("quick", UID, 0).exists()
    with pytest.raises(InputError, match="home"):
        reached.forget(Path("../home/../beside"))
