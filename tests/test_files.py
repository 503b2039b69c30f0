from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from model.files import folder_written_aside, make_folder, read_regular, written_aside


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_new_file_and_its_folders_are_their_owners_alone(tmp_path: Path) -> None:
    with written_aside(tmp_path / "a" / "b" / "new.txt") as aside:
        aside.write_text("ours")
    assert mode_of(tmp_path / "a" / "b" / "new.txt") == 0o600
    assert {mode_of(tmp_path / "a"), mode_of(tmp_path / "a" / "b")} == {0o700}
    with folder_written_aside(tmp_path / "model") as folder:
        folder.mkdir()
    assert mode_of(tmp_path / "model") == 0o700


def test_replaced_file_keeps_its_rights(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old")
    (tmp_path / "old").chmod(0o640)
    with written_aside(tmp_path / "old") as aside:
        aside.unlink()  # as some libraries do before they write
        aside.write_text("new")
    assert ((tmp_path / "old").read_text(), mode_of(tmp_path / "old")) == ("new", 0o640)


def test_link_is_replaced_and_what_it_points_to_stays(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("theirs")
    (tmp_path / "link").symlink_to(tmp_path / "theirs")
    with written_aside(tmp_path / "link") as aside:
        aside.write_text("ours")
    assert ((tmp_path / "theirs").read_text(), (tmp_path / "link").read_text()) == ("theirs", "ours")
    assert not (tmp_path / "link").is_symlink()


def test_name_aside_can_not_be_foreseen_and_is_never_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = set()
    for _ in range(2):
        with written_aside(tmp_path / "file.txt") as aside:
            names.add(aside.name)
    assert len(names) == 2
    assert all(name.endswith(".txt") and len(name) > 20 for name in names)
    # Somebody who foresaw it all the same:
    monkeypatch.setattr("model.files.secrets.token_hex", lambda count: "0" * 2 * count)
    (tmp_path / "theirs").write_text("theirs")
    (tmp_path / f".file.{'0' * 16}.txt").symlink_to(tmp_path / "theirs")
    with pytest.raises(FileExistsError), written_aside(tmp_path / "file.txt") as aside:
        aside.write_text("ours")
    assert (tmp_path / "theirs").read_text() == "theirs"


def test_name_of_the_longest_kind_has_room_aside(tmp_path: Path) -> None:
    path = tmp_path / ("é" * 120 + ".keras")
    with written_aside(path) as aside:
        aside.write_text("ours")
    assert path.read_text() == "ours"


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(OSError, match="pipe, a device or a socket"):
            read_regular(path, 100)
    with pytest.raises(IsADirectoryError):
        read_regular(tmp_path, 100)
    (tmp_path / "file").write_bytes(b"abc")
    assert read_regular(tmp_path / "file", 2) == b"ab"


def test_folder_is_not_made_over_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        make_folder(tmp_path / "file" / "below")
