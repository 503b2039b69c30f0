"""A password is found nowhere but where it was put: it goes through every command, every form and every failure.

Looked at are what commands print, every file that they leave, the database, and the command lines and environments of
the processes that they start. A new command fails the first test until it is taken in here.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import click
import optuna
import psutil
import pytest
from click.testing import CliRunner
from null_child import Played
from PIL import Image
from postgres_server import PostgresServer
from study_maker import make_study
from test_only_reading import everything
from test_retrain import SYNTHETIC, fingerprint, networks  # noqa: F401 - a fixture
from test_secrets import CANARY, FORMS
from visitors import ask, basic

import model.data
import search.run.doctor
from search.cli.main import main
from search.retraining.jobs import Means
from search.retraining.using import convert_model, evaluate_model, predict_images, start_tensorflow
from search.training.starting import start_process
from studies.store.opening import open_storage

PASSWORD = f"{CANARY}@it/self"
SPACE = """
[study]
name = "tiny"
trials = 1
[data]
source = "synthetic"
train_images = 64
validation_images = 64
[space]
batch_size = 32
learning_rate = 0.01
epochs = 1
"""
WITHOUT_STORAGE = {
    "completion": ["completion", "bash"],
    "evaluate": ["evaluate", "net.keras", "--data", "synthetic"],
    "predict": ["predict", "net.keras", "picture.png"],
    "convert": ["convert", "net.keras", "--to", "saved-model"],
    "seed-report": ["seed-report", "--epochs", "1", "--data", "synthetic"],
}
WITH_STORAGE = {
    "doctor": ["doctor", "--data", "synthetic"],
    "upgrade": ["upgrade"],
    "studies": ["studies"],
    "status": ["status", "--json"],
    "best": ["best"],
    "export": ["export", "-o", "best.toml"],
    "report": ["report", "-o", "report.html"],
    "retrain": ["retrain", "best.toml", "--data", "synthetic"],
    "verify": ["verify", "--top", "2", "--seeds", "1", "--data", "synthetic"],
    "replay": ["replay", "--trial", "1", "--data", "synthetic"],
    "audit": ["audit", "1", "--data", "synthetic"],
    "trials": ["trials", "-o", "trials.csv"],
    "retry": ["retry", "--failed"],
    "enqueue": ["enqueue", "learning_rate=0.02"],
    "stop": ["stop"],
    "migrate": ["migrate", "--to", "sqlite:///there.db"],
    "worker": ["worker"],
    "run": ["run", "tiny.toml"],
    "dashboard": ["dashboard", "--port", "0", "--password-file", "password", "--token-file", "password"],
    "delete": ["delete", "--study", "small", "--yes"],
}
"""In an order in which each finds what it needs"""
SERVING = {"run", "worker", "dashboard"}
"""Started as processes of their own where the database answers"""
QUICK = {"upgrade", "studies", "status", "best", "export", "retry", "stop"}


def test_every_command_is_sent_the_canary() -> None:
    assert main.commands.keys() == WITH_STORAGE.keys() | WITHOUT_STORAGE.keys()
    assert not [name for name, command in main.commands.items() if isinstance(command, click.Group)]
    storage = {
        name for name, command in main.commands.items() if any(each.name == "storage" for each in command.params)
    }
    assert storage == WITH_STORAGE.keys()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with what the commands are given; every variable that may hold a secret holds the canary."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "tiny.toml").write_text(SPACE)
    (folder / "password").write_text(PASSWORD + "\n")
    (folder / "password").chmod(0o600)
    Image.new("RGB", (32, 32)).save(folder / "picture.png")
    for name in ("PGPASSWORD", "ALEXSEARCH_DASHBOARD_PASSWORD", "ALEXSEARCH_DASHBOARD_TOKEN"):
        monkeypatch.setenv(name, PASSWORD)
    monkeypatch.setenv("ALEXSEARCH_HOME", str(folder / "home"))
    # Doctor's own probes start TensorFlow; what they inherit is test_surroundings' matter.
    monkeypatch.setattr(search.run.doctor, "_probe", lambda *_given, **_named: (None, "not looked at"))
    return folder


def alexsearch(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, list(words))
    assert done.exception is None or isinstance(done.exception, SystemExit), (words, done.exc_info)
    assert CANARY not in done.output, words
    return done.exit_code, done.output


def assert_only_in_its_source(folder: Path) -> None:
    found = [file for file in folder.rglob("*") if file.is_file() and CANARY.encode() in file.read_bytes()]
    assert found == [folder / "password"]


def leave_recipe(folder: Path) -> None:
    """A study somewhere else, and its recipe here: `retrain` asks for the database only when it has read one."""
    url = f"sqlite:///{folder.parent / 'elsewhere.db'}"
    storage = open_storage(url)
    make_study(storage, 0.5)
    storage.engine.dispose()
    assert alexsearch("export", "-o", "best.toml", "--storage", url)[0] == 0


def failing(form: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give the password in this way; what is to be typed for it."""
    how, _, url = form.partition(" ")
    if how == "typed":
        return ["--storage", url]
    monkeypatch.setenv("ALEXSEARCH_STORAGE", url)
    if how == "file":
        monkeypatch.setenv("ALEXSEARCH_STORAGE_PASSWORD_FILE", str(folder / "password"))
    return []


UNREACHED = [
    *(f"set {url}" for url in FORMS),
    *(f"typed {url}" for url in (FORMS[1], FORMS[3], FORMS[7], FORMS[10])),
    "file postgresql://u@localhost:1/d",
    "set postgresql://u@localhost:1/d",
]
ONE_OF_A_KIND = (f"set {FORMS[4]}", f"typed {FORMS[7]}", "file postgresql://u@localhost:1/d")


@pytest.mark.parametrize(
    "form", [pytest.param(form, marks=() if form in ONE_OF_A_KIND else pytest.mark.slow) for form in UNREACHED]
)
def test_canary_is_nowhere_where_no_database_answers(form: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_recipe(here)
    monkeypatch.setitem(open_storage.__kwdefaults__ or {}, "opening_patience_seconds", 0)
    typed = failing(form, here, monkeypatch)
    for command in WITH_STORAGE.values():
        code, output = alexsearch(*command, *typed)
        assert (code in (1, 2), "storage" in output) == (True, True), output
    for command in WITHOUT_STORAGE.values():
        if command[0] != "seed-report":
            alexsearch(*command)
    assert_only_in_its_source(here)


# ---- a server that asks for it


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    opened = PostgresServer(tmp_path_factory.mktemp("canary"))
    opened.require_passwords("me", PASSWORD)
    yield opened
    opened.stop()


@pytest.fixture
def place(server: PostgresServer) -> str:
    """HOST:PORT/DATABASE of a new database in which `me` may do everything, and what it is called for its server."""
    url = server.database(tcp=True)
    name = urlsplit(url).path[1:]
    port = url.rpartition("port=")[2]
    server.ask(f'SELECT 1; ALTER DATABASE "{name}" OWNER TO me')
    return f"127.0.0.1:{port}/{name}"


def forms(place: str, password: str) -> dict[str, str]:
    return {
        "raw": f"postgresql://me:{password}@{place}",
        "quoted": f"postgresql://me:{quote(password, safe='')}@{place}",
        "option": f"postgresql://me@{place}?password={quote(password, safe='')}",
        "driver": f"postgresql+psycopg://me:{password}@{place}",
    }


@pytest.mark.slow
def test_canary_is_nowhere_where_the_password_is_wrong(place: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_recipe(here)
    wrong = f"{CANARY}/is@wrong"
    (here / "password").write_text(wrong)
    monkeypatch.setenv("PGPASSWORD", wrong)
    monkeypatch.setitem(open_storage.__kwdefaults__ or {}, "opening_patience_seconds", 0)
    other = place.rpartition("/")[0] + "/no-such-database"
    urls = [*forms(place, wrong).values(), f"postgresql://me@{place}", forms(other, PASSWORD)["raw"]]
    for url in urls:
        for command in WITH_STORAGE.values():
            monkeypatch.setenv("ALEXSEARCH_STORAGE", url)
            code, output = alexsearch(*command)
            assert (code, "postgresql://me" in output or "password" in output) in ((1, True), (2, True)), output
    monkeypatch.setenv("ALEXSEARCH_STORAGE_PASSWORD_FILE", str(here / "password"))
    for command in WITH_STORAGE.values():
        monkeypatch.setenv("ALEXSEARCH_STORAGE", f"postgresql://me@{place}")
        assert alexsearch(*command)[0] in (1, 2)
    assert_only_in_its_source(here)


class Watched:
    """A command as a process of its own; the processes that it starts are looked at as long as it runs."""

    def __init__(self, *words: str) -> None:
        self.printed = Path(f"{words[0]}.printed")
        self.seen: set[str] = set()
        with self.printed.open("wb") as output:
            command = [sys.executable, "-m", "search.cli.main", *words]
            self.process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)

    def look(self) -> str:
        """Look once; what it has printed so far."""
        own = psutil.Process(self.process.pid)
        for each in (own, *own.children(recursive=True)):
            try:
                if each != own and each.cmdline() == own.cmdline():
                    continue  # forked a moment ago: it is no other program yet
                told = [*each.cmdline(), *(each.environ().values() if each != own else ())]
            except psutil.Error:  # it has just ended
                continue
            self.seen.add(each.name())
            assert not [text for text in told if CANARY in text]
        return self.printed.read_text()

    def end(self, seconds: float = 120) -> int:
        """Look until it ends; its exit code."""
        while True:
            try:
                return self.process.wait(0.05)
            except subprocess.TimeoutExpired:
                self.look()
                seconds -= 0.05
                assert seconds > 0, self.printed.read_text()


def play_trainings(networks: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """Of the commands that run in this process; TensorFlow is at work in it already."""
    monkeypatch.setitem(model.data._NAMED, "synthetic", SYNTHETIC)

    def save(path: Path, _seed: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(networks[0], path)

    played = Played(save=save, fingerprint=fingerprint())
    instead: list[tuple[object, object]] = [(start_process, played.start), (start_tensorflow, lambda _home: None)]
    given = Means.__init__.__defaults__ or ()
    assert all(known in given for known, _ in instead)
    defaults = [next((other for known, other in instead if known is each), each) for each in given]
    monkeypatch.setattr(Means.__init__, "__defaults__", tuple(defaults))
    for function in (evaluate_model, predict_images, convert_model):
        monkeypatch.setattr(function, "__defaults__", (lambda _home: None,))


@pytest.mark.slow
@pytest.mark.parametrize("form", ["raw", "option", "file", "PGPASSWORD"])
def test_canary_is_nowhere_where_all_goes_well(
    place: str,
    form: str,
    here: Path,
    networks: list[Path],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALEXSEARCH_STORAGE", forms(place, PASSWORD).get(form, f"postgresql://me@{place}"))
    if form == "file":
        monkeypatch.delenv("PGPASSWORD")
        monkeypatch.setenv("ALEXSEARCH_STORAGE_PASSWORD_FILE", str(here / "password"))
    play_trainings(networks, monkeypatch)
    url = forms(place, PASSWORD)["raw"]
    storage = open_storage(url)
    outcomes = (0.4, 0.6, optuna.trial.TrialState.PRUNED, optuna.trial.TrialState.FAIL)
    make_study(storage, *outcomes, trials=4, fingerprint=fingerprint())
    storage.engine.dispose()
    shutil.copyfile(networks[0], here / "net.keras")
    for name, command in (WITH_STORAGE | WITHOUT_STORAGE).items():
        if name in QUICK or (form == "raw" and name not in SERVING):
            code, output = alexsearch(*command)
            assert code in ((0, 1) if name in ("doctor", "replay") else (0,)), (name, output)
    assert (here / "best.toml").is_file()
    if form == "raw":
        assert (here / "report.html").is_file()
        serve_and_search(here)
    assert CANARY not in repr(everything(url))
    assert_only_in_its_source(here)


def serve_and_search(here: Path) -> None:
    """The commands that start processes or stay."""
    dashboard = Watched(*WITH_STORAGE["dashboard"])
    while "http://" not in (printed := dashboard.look()):
        assert dashboard.process.poll() is None, printed
    port = urlsplit("http://" + printed.partition("http://")[2].split()[0]).port or 0
    for password in (PASSWORD, f"{CANARY} guessed"):
        for path in ("/", "/studies/1", "/api/studies", "/login", "/nowhere"):
            body = ask(port, "GET", path, Authorization=basic(password))[2]
            assert CANARY.encode() not in body
            ask(port, "POST", "/login", f"password={quote(password)}".encode(), Origin=f"http://127.0.0.1:{port}")
    run = Watched(*WITH_STORAGE["run"])
    assert run.end() == 0, run.printed.read_text()
    assert any("python" in name for name in run.seen)
    assert Watched(*WITH_STORAGE["worker"], "--study", "tiny").end() == 0
    dashboard.process.terminate()
    assert dashboard.end() == 0
    assert (here / "home" / "tiny" / "logs").is_dir()
