"""A password is in no message, whatever the form of the URL and whatever fails."""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from search.cli.main import main
from search.run.doctor import network_kind
from studies.show.dashboard import DashboardError, read_password, read_token
from studies.store.errors import StorageError
from studies.store.opening import open_storage
from studies.store.patience import Patience
from studies.store.problems import problem_text
from studies.store.secret_file import read_secret
from studies.store.urls import parsed, redacted, storage_url

CANARY = "c4nary"
FORMS = [
    f"postgresql://u:{CANARY}@localhost:1/d",
    f"postgresql://u:pa@{CANARY}@localhost:1/d",
    f"postgresql://u:pa@ss@{CANARY}@localhost:1/d",
    f"postgresql://u:pa/{CANARY}@localhost:1/d",
    f"postgresql://u:pa@x/{CANARY}@localhost:1/d",
    f"postgresql://u:{CANARY}%40%2F@localhost:1/d",
    f"postgresql://:{CANARY}@localhost:1/d",
    f"postgresql://u@localhost:1/d?password={CANARY}",
    f"postgresql://u@localhost:1/d?PASSWORD={CANARY}",
    f"postgresql://u@localhost:1/d?sslpassword={CANARY}",
    f"postgresql://u:{CANARY}@localhost:port/d",
    f"postgresql//u:{CANARY}@localhost/d",
    f"mysql://u:{CANARY}@localhost/d",
]


@pytest.mark.parametrize("url", FORMS)
def test_password_is_found_in_no_message(url: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        open_storage(storage_url(url, tmp_path), opening_patience_seconds=0)
    assert CANARY not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.slow
@pytest.mark.parametrize("url", [FORMS[1], FORMS[8], FORMS[9], FORMS[10]])
def test_commands_print_no_password(url: str) -> None:
    done = CliRunner().invoke(main, ["status", "--storage", url])
    assert done.exit_code == 2
    assert CANARY not in done.output.replace(url, "")


def test_password_with_a_raw_at_or_slash_is_taken_as_it_was_meant() -> None:
    for raw in ("pa@ss", "p@a@ss", "pa/ss", "p@a/ss"):
        url = parsed(f"postgresql://u:{raw}@host:5/d?sslmode=require")
        assert (url.username, url.password, url.host, url.port, url.database) == ("u", raw, "host", 5, "d")
        assert redacted(url) == "postgresql://u:***@host:5/d?sslmode=require"
    assert parsed("postgresql://u@host/d?options=a@b").host == "host"


def test_passwords_are_taken_out_of_what_a_database_says() -> None:
    url = parsed("postgresql://u:p%40x@h/d?sslpassword=secret")
    assert problem_text(ValueError("no p@x, no p%40x, no secret"), url) == "no ***, no ***, no ***"


def test_secret_comes_out_of_a_file_or_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a secret\n")
    assert read_secret(tmp_path / "file") == "a secret\n"
    reading, writing = os.pipe()
    os.write(writing, b"a secret\n")
    os.close(writing)
    try:
        assert read_secret(Path(f"/dev/fd/{reading}")) == "a secret\n"  # what a shell makes of <(pass show x)
    finally:
        os.close(reading)


def test_secret_is_not_waited_for_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TimeoutError, match="nothing came out of this pipe"):
        read_secret(tmp_path / "pipe", 0)
    with pytest.raises(OSError, match="too long"):
        read_secret(Path("/dev/zero"))
    with pytest.raises(IsADirectoryError):
        read_secret(tmp_path)
    monkeypatch.setattr("studies.store.secret_file.PIPE_SECONDS", 0.01)
    for read in (read_password, read_token):
        with pytest.raises(DashboardError, match="pipe"):
            read(tmp_path / "pipe", {})
    monkeypatch.setenv("ALEXSEARCH_STORAGE_PASSWORD_FILE", str(tmp_path / "pipe"))
    with pytest.raises(StorageError, match="pipe"):
        storage_url("postgresql://u@localhost/d", tmp_path)


def test_long_silence_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studies.store.patience.SILENT_SECONDS", 0.01)
    told: list[str] = []
    heard = threading.Event()
    patience = Patience(storage_url(None, tmp_path), 0)

    def waiting(what: str) -> None:
        told.append(what)
        heard.set()

    patience.waiting = waiting
    for _ in range(2):
        assert patience(lambda: heard.wait(30))
    assert len(told) == 1
    assert "another program holds its lock" in told[0]


def test_command_says_that_it_waits_for_a_locked_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studies.store.patience.SILENT_SECONDS", 0.05)
    monkeypatch.setattr("studies.store.storage.SQLITE_BUSY_SECONDS", 1.0)
    open_storage(storage_url(None, tmp_path)).engine.dispose()
    blocker = sqlite3.connect(tmp_path / "alexsearch.db", isolation_level=None, check_same_thread=False)
    blocker.execute("PRAGMA journal_mode=DELETE")
    blocker.execute("BEGIN EXCLUSIVE")
    release = threading.Timer(0.5, lambda: blocker.execute("COMMIT"))
    release.start()
    done = CliRunner().invoke(main, ["studies", "--home", str(tmp_path)])
    release.join()
    assert "waiting for storage" in done.stderr
    assert done.exit_code == 0


@pytest.mark.parametrize(
    ("where", "kind"), [("/nfs/me/runs", "nfs4"), ("/nfs/local/x", None), ("/home/x", None), ("/share/x", "cifs")]
)
def test_network_file_system_is_seen_in_the_table_of_mounts(where: str, kind: str | None, tmp_path: Path) -> None:
    (tmp_path / "mounts").write_text(
        "/dev/a / ext4 rw 0 0\nhost:/x /nfs nfs4 rw 0 0\n/dev/b /nfs/local xfs rw 0 0\n//h/s /share cifs rw 0 0\n"
    )
    assert network_kind(Path(where) / "alexsearch.db", tmp_path / "mounts") == kind
    assert network_kind(Path(where), tmp_path / "none") is None
