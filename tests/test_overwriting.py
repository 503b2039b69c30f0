"""What is there already is replaced only if alexsearch wrote it, or if the user says so."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image
from study_maker import make_study

from search import api
from search.base.home import LONGEST_NAME, Home
from search.base.mistakes import InputError
from search.base.overwriting import check_file, check_folder
from search.cli.main import main
from search.retraining.records import claimed
from studies.store.opening import open_storage

OLD = "the user's own"
SPACE = '[study]\nname = "s"\n[space]\nbatch_size = 32\n'


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    make_study(open_storage(f"sqlite:///{folder / 'alexsearch.db'}"), 0.4, 0.6)
    monkeypatch.setenv("ALEXSEARCH_HOME", str(folder))
    monkeypatch.delenv("ALEXSEARCH_STORAGE", raising=False)
    return folder


def alexsearch(*arguments: object, code: int = 0) -> str:
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert isinstance(done.exception, SystemExit | None), done.exception
    assert done.exit_code == code, done.output
    return done.stderr if code else done.stdout


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    "command",
    [
        ("export", "-o", "FILE.toml"),
        ("export", "-o", "FILE.json"),
        ("report", "-o", "FILE.html"),
        ("report", "-o", "FILE.png"),
        ("report", "-o", "FILE.svg"),
        ("report", "--figure", "history", "-o", "FILE.html"),
    ],
)
def test_file_of_the_users_is_replaced_only_if_told_to_and_our_own_at_once(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    path = tmp_path / command[-1]
    arguments = [*command[:-1], path]
    path.write_text(OLD)
    refused = alexsearch(*arguments, code=2)
    assert "is there already, and may be your own work" in refused
    assert "--force" in refused
    assert path.read_text() == OLD
    alexsearch(*arguments, "--force")
    assert path.read_bytes() != OLD.encode()
    alexsearch(*arguments)  # its own
    if path.suffix == ".png":
        Image.open(io.BytesIO(path.read_bytes())).verify()


@pytest.mark.usefixtures("home")
def test_recipe_that_was_edited_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "best.toml"
    alexsearch("export", "-o", path)
    edited = path.read_text().replace("batch_size = 32", "batch_size = 64")
    path.write_text(edited)
    assert "may be your own work" in alexsearch("export", "-o", path, code=2)
    assert path.read_text() == edited
    path.with_name("best-2.toml").write_text(OLD)
    alexsearch("export", "--top", 2, "-o", path, code=2)
    assert not path.with_name("best-1.toml").exists()


@pytest.mark.usefixtures("home")
def test_space_given_as_a_recipe_is_told_so_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "my space.toml"
    path.write_text(SPACE)
    told = alexsearch("retrain", path, code=2)
    assert f"is a space file, not a recipe. `alexsearch run '{path}'` searches it" in told
    alexsearch("export", "-o", path, code=2)
    assert path.read_text() == SPACE


def test_functions_take_force_too(home: Path, tmp_path: Path) -> None:
    study = api.open_study(home=home)
    recipe, path = api.best_recipe(study), tmp_path / "a.toml"
    path.write_text(OLD)
    with pytest.raises(InputError, match="--force"):
        api.save_recipe(recipe, path)
    api.save_recipe(recipe, path, force=True)
    page = tmp_path / "report.html"
    page.write_text(OLD)
    with pytest.raises(InputError, match="--force"):
        api.report(study, page)
    api.report(study, page, force=True)
    assert api.report(study, page) == page


def test_folder_of_the_users_is_trained_into_only_if_told_to(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(OLD)
    with pytest.raises(InputError, match=r"holds something that no such training left.*--force"), claimed(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]
    with claimed(tmp_path, force=True):
        pass
    (tmp_path / "recipe.toml").touch()  # as a training before left it
    with claimed(tmp_path):
        pass
    with claimed(tmp_path / "new"):
        pass
    with claimed(tmp_path / "new"):  # interrupted before it had anything
        pass


@pytest.mark.usefixtures("home")
def test_folder_of_the_users_is_no_place_for_the_seed_report(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "accuracy.png").write_text(OLD)
    (tmp_path / "own" / "checkpoints").mkdir()
    told = alexsearch("seed-report", "--data", "synthetic", "--out", tmp_path / "own", code=2)
    assert "Name an empty or a new folder" in told


LONG = "x" * 300


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    "command",
    [
        ("export", "-o", f"{LONG}.toml"),
        ("report", "-o", f"{LONG}.html"),
        ("report", "-o", f"{LONG}.png"),
        ("verify", "--out", LONG),
        ("seed-report", "--data", "synthetic", "--out", LONG),
        ("status", "--home", LONG),
        ("status", "--storage", f"sqlite:///{LONG}.db"),
        ("evaluate", f"{LONG}.keras"),
        ("run", "quick", "--home", f"a/{LONG}/b"),
    ],
)
def test_name_that_is_too_long_is_one_line(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = alexsearch(*command, code=2).splitlines()[-1]
    assert "File name too long" in told


@pytest.mark.parametrize("check", [check_file, check_folder])
def test_name_that_is_too_long_is_told_even_if_anything_may_be_replaced(check: Callable[..., None]) -> None:
    with pytest.raises(InputError, match="File name too long"):
        check(Path(LONG), force=True)


def test_study_with_a_long_name_has_a_folder_of_its_own(tmp_path: Path) -> None:
    home = Home(tmp_path)
    folders = [home.study("n" * length) for length in (LONGEST_NAME, 300, 301)]
    for folder in folders:
        folder.mkdir()
    assert len(set(folders)) == 3
    assert folders[0].name == "n" * LONGEST_NAME
