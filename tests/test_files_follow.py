"""Checkpoints, artifacts and logs are kept where --files says, and come from there on another host."""

from __future__ import annotations

import dataclasses
import io
import sys
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from click.testing import CliRunner
from optuna.artifacts.exceptions import ArtifactNotFound
from scripted_child import READY, Script, epoch, finished, started
from study_maker import DATA, make_study

from search.base.artifacts import Artifacts, keep_retrained
from search.base.file_store import FilesError, FileStore, StudyFiles, files_url
from search.base.home import Home
from search.base.mistakes import InputError
from search.cli.main import main
from search.run.engines.engine import Resources
from search.run.engines.orders import order_of
from search.run.keeping import Keeping
from search.run.slot import Assignment, Slot
from search.space.space import SearchSpace
from search.training.child import ChildError
from search.training.places import Place
from studies.queue.queue import Queue
from studies.record.catalog import FILES, StudyRecord, open_study
from studies.record.retrained import Retrained
from studies.store.artifact_names import described
from studies.store.opening import open_storage
from studies.store.storage import Storage

SPACE = SearchSpace.from_dict(
    {
        "study": {"name": "s", "trials": 1},
        "data": {"source": "synthetic", "validation_images": 400},
        "space": {"batch_size": 32, "learning_rate": {"low": 0.001, "high": 0.1, "log": True}, "epochs": 3},
        "pruner": {"name": "none"},
    }
)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    (tmp_path / "shared").mkdir()
    return tmp_path / "shared"


@pytest.fixture
def files(shared: Path) -> StudyFiles:
    return StudyFiles(FileStore(files_url(str(shared))), "uid")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A trial's checkpoint folder."""
    made = Home(tmp_path / "home").checkpoints("s", "uid", 3)
    made.mkdir(parents=True)
    return made


# The store


@pytest.mark.parametrize(
    "given",
    ["s3://me:HIDDEN9@bucket/p", "s3://KEYHIDDEN9@bucket", "s3://bucket/p?key=HIDDEN9", "sftp://me:HIDDEN9@host/p"],
)
def test_address_with_a_secret_is_refused_without_repeating_it(given: str) -> None:
    with pytest.raises(InputError, match="environment") as refused:
        files_url(given)
    assert "HIDDEN9" not in str(refused.value)


@pytest.mark.parametrize("given", ["", "http://host/p", "simplecache::s3://bucket", "s3://", "file://host/p"])
def test_what_is_no_place_for_files_is_refused(given: str) -> None:
    with pytest.raises(InputError, match="--files"):
        files_url(given)


def test_same_place_has_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert files_url("shared/") == files_url(f"file://{tmp_path}/shared") == str(tmp_path / "shared")
    assert files_url("s3://bucket/p/") == "s3://bucket/p"
    assert files_url("sftp://me@host/p") == "sftp://me@host/p"


def test_unknown_scheme_and_missing_packages_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="nothing is known by xyz://"):
        FileStore("xyz://bucket")
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(InputError, match=r"pip install 'alexsearch\[s3\]'"):
        FileStore("s3://bucket")
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(InputError, match=r"pip install 'alexsearch\[s3\]'"):
        FileStore("/mnt/shared")


def test_look_whether_it_can_be_written_leaves_nothing_there(shared: Path) -> None:
    FileStore(str(shared)).check(used=True)
    assert list(shared.iterdir()) == []
    FileStore(str(shared / "new")).check(used=False)
    with pytest.raises(InputError, match="Is it mounted"):
        FileStore(str(shared / "gone")).check(used=True)
    (shared / "file").write_text("in the way")
    with pytest.raises(InputError, match="Is it mounted"):
        FileStore(str(shared / "file" / "p")).check(used=False)


def test_checkpoint_folder_comes_back_as_it_was(files: StudyFiles, folder: Path, tmp_path: Path) -> None:
    (folder / "weights" / "deep").mkdir(parents=True)
    (folder / "weights" / "a.bin").write_bytes(b"\x00\x01" * 5000)
    (folder / "weights" / "same.bin").hardlink_to(folder / "weights" / "a.bin")
    (folder / "run.sh").write_text("#!/bin/sh")
    (folder / "run.sh").chmod(0o700)
    for name in ("epoch-000003.checkpoint", "epoch-000004.checkpoint", ".epoch-000005.checkpoint"):
        (folder / name).write_text(name)
    (folder / "passwords").symlink_to("/etc/passwd")
    assert files.put_checkpoints(3, 4, folder)
    (kept,) = files.checkpoints(3)
    assert kept.number == 4
    other = Home(tmp_path / "other")
    there = other.checkpoints("s", "uid", 3)
    files.fetch_checkpoints(kept, other, there)
    found = {path.relative_to(there).as_posix(): path for path in there.rglob("*")}
    assert set(found) == {
        *("weights", "weights/deep", "weights/a.bin", "weights/same.bin", "run.sh", "epoch-000004.checkpoint")
    }
    assert found["weights/same.bin"].read_bytes() == b"\x00\x01" * 5000
    assert found["run.sh"].stat().st_mode & 0o777 == 0o700
    assert found["weights/a.bin"].stat().st_mode & 0o077 == 0
    assert [path.name for path in there.parent.iterdir()] == [there.name]


def test_newer_checkpoint_takes_the_place_of_the_older_and_the_same_is_not_sent_again(
    files: StudyFiles, folder: Path
) -> None:
    (folder / "state").write_text("one")
    files.put_checkpoints(3, 1, folder)
    inode = Path(files.checkpoints(3)[0].path).stat().st_ino
    files.put_checkpoints(3, 2, folder)
    assert [version.number for version in files.checkpoints(3)] == [2]
    assert Path(files.checkpoints(3)[0].path).stat().st_ino == inode
    (folder / "state").write_text("two")
    files.put_checkpoints(3, 3, folder)
    assert [version.number for version in files.checkpoints(3)] == [3]
    files.forget_checkpoints(3)
    files.forget_checkpoints(3)
    assert files.checkpoints(3) == []


def test_half_a_checkpoint_is_not_taken_for_one_and_is_mended(files: StudyFiles, folder: Path, tmp_path: Path) -> None:
    (folder / "state").write_text("one")
    files.put_checkpoints(3, 1, folder)
    (kept,) = files.checkpoints(3)
    Path(kept.path).write_bytes(Path(kept.path).read_bytes()[:700])
    other = Home(tmp_path / "other")
    there = other.checkpoints("s", "uid", 3)
    there.mkdir(parents=True)
    (there / "state").write_text("mine")
    with pytest.raises(FilesError, match="damaged"):
        files.fetch_checkpoints(kept, other, there)
    assert (there / "state").read_text() == "mine"
    files.put_checkpoints(3, 1, folder)
    files.fetch_checkpoints(kept, other, there)
    assert (there / "state").read_text() == "one"


def _member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def _sparse() -> tarfile.TarInfo:
    member = _member("state")
    member.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.map": "0,0", "GNU.sparse.size": str(2**40)}
    return member


@pytest.mark.parametrize(
    "member",
    [
        _member("../out"),
        _member("/tmp/out"),  # noqa: S108 - what an attacker would write
        _member("a", tarfile.SYMTYPE, "/etc"),
        _member("a", tarfile.LNKTYPE, "../../x"),
        _member("a", tarfile.FIFOTYPE),
        _member("a", tarfile.CHRTYPE),
        _sparse(),
    ],
    ids=["up", "root", "symlink", "hard link", "pipe", "device", "sparse"],
)
def test_checkpoint_that_leads_out_of_its_folder_is_refused(
    files: StudyFiles, folder: Path, tmp_path: Path, member: tarfile.TarInfo
) -> None:
    (folder / "state").write_text("mine")
    packed = tmp_path / "packed"
    with tarfile.open(packed, "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(member, io.BytesIO())
    files.store.put("uid/checkpoints/trial-00003", 9, packed)
    with pytest.raises(FilesError, match="no plain file"):
        files.fetch_checkpoints(files.checkpoints(3)[0], Home(tmp_path / "home"), folder)
    assert [(path.name, path.read_text()) for path in folder.iterdir()] == [("state", "mine")]


# Trials


class Hosts:
    """Hosts with a home each at work on one study, whose training processes are played."""

    def __init__(self, tmp_path: Path, shared: Path) -> None:
        self.path, self.storage = tmp_path, open_storage(f"sqlite:///{tmp_path / 'study.db'}")
        attributes = {"space": SPACE.to_dict(), "data": {}, FILES: str(shared)}
        self.study, _ = open_study(self.storage, "s", attributes)
        self.queue = Queue(self.storage, self.study.study_id)
        self.queue.fill(1)
        self.notes: list[str] = []
        self.said: list[str] = []

    def home(self, name: str) -> Home:
        return Home(self.path / name)

    def checkpoints(self, name: str) -> Path:
        return self.home(name).checkpoints("s", self.study.attributes["uid"], 0)

    def saves(self, name: str, number: int) -> Callable[[], None]:
        """The training process on this host writes its checkpoint of this epoch."""

        def save() -> None:
            self.checkpoints(name).mkdir(parents=True, exist_ok=True)
            (self.checkpoints(name) / "state").write_text(f"epoch {number}")

        return save

    def keeping(self, name: str) -> Keeping:
        files = StudyFiles.of(self.study.files or "", self.study.attributes["uid"])
        return Keeping(files, self.home(name), self.storage, self.study)

    def close(self, keeping: Keeping) -> None:
        keeping.close(threading.Event(), stop_seconds=0.5)
        while not keeping.remarks.empty():
            self.notes.append(keeping.remarks.get())

    def run(self, name: str, *lines: object) -> None:
        """A slot whose process plays these lines, then the end of the host's run."""
        keeping, stopping = self.keeping(name), threading.Event()
        work = Assignment(
            home=self.home(name),
            study_name="s",
            study_uid=self.study.attributes["uid"],
            space=SPACE,
            data=SPACE.data,
            fingerprint="f",
            provenance={"versions": {}, "git_commit": None, "host": name},
            queue=self.queue,
            storage=optuna.storages.get_storage(self.storage),
            pruner=optuna.pruners.NopPruner(),
            tell=lambda event: self.said.append(str(event.what)),
            stopping=stopping,
            files=keeping,
            start=Script([[READY, *lines, stopping.set, None]]).start,
        )
        Slot(Place(0, "cpu"), work).run()
        self.close(keeping)

    @property
    def state(self) -> str:
        (trial,) = self.storage.get_all_trials(self.study.study_id)
        return trial.state.name


@pytest.fixture
def hosts(tmp_path: Path, shared: Path) -> Hosts:
    return Hosts(tmp_path, shared)


def test_trial_goes_on_at_its_last_epoch_on_another_host(hosts: Hosts) -> None:
    hosts.run("a", started(), hosts.saves("a", 1), epoch(1), hosts.saves("a", 2), epoch(2))
    assert hosts.state == "WAITING"
    seen: list[str] = []

    def look() -> None:
        seen.append((hosts.checkpoints("b") / "state").read_text())

    hosts.run("b", look, started(epoch(1), epoch(2)), hosts.saves("b", 3), epoch(3), finished())
    assert seen == ["epoch 2"]
    assert any("its checkpoint of epoch 2 comes from" in said for said in hosts.said), hosts.said
    assert hosts.state == "COMPLETE"
    assert hosts.notes == []


def test_settled_trials_checkpoints_are_removed_there_too(hosts: Hosts, shared: Path) -> None:
    hosts.run("a", started(), hosts.saves("a", 1), epoch(1), hosts.saves("a", 2), epoch(2), finished())
    assert hosts.state == "COMPLETE"
    assert [path.name for path in shared.rglob("*") if path.is_file()] == []
    assert list(hosts.checkpoints("a").parent.iterdir()) == []


def test_host_that_is_further_than_what_is_kept_goes_on_with_its_own(hosts: Hosts) -> None:
    hosts.run("a", started(), hosts.saves("a", 1), epoch(1))
    hosts.saves("a", 2)()
    seen: list[str] = []
    hosts.run("a", lambda: seen.append((hosts.checkpoints("a") / "state").read_text()), started(epoch(1), epoch(2)))
    assert seen == ["epoch 2"]
    assert not any("comes from" in said for said in hosts.said)


def test_training_that_began_anew_takes_the_place_of_what_could_not_be_used(hosts: Hosts) -> None:
    hosts.run("a", started(), hosts.saves("a", 1), epoch(1), hosts.saves("a", 2), epoch(2))
    hosts.run("b", started(), hosts.saves("b", 1), epoch(1))
    files = StudyFiles.of(hosts.study.files or "", hosts.study.attributes["uid"])
    assert [version.number for version in files.checkpoints(0)] == [1]


def test_host_that_was_taken_for_dead_does_not_take_the_place_of_what_another_one_kept(hosts: Hosts) -> None:
    keeping, files = hosts.keeping("a"), StudyFiles.of(hosts.study.files or "", hosts.study.attributes["uid"])
    hosts.saves("b", 8)()
    files.put_checkpoints(0, 8, hosts.checkpoints("b"))
    hosts.saves("a", 5)()
    keeping.epoch_done(0, hosts.checkpoints("a"), 5)
    hosts.close(keeping)
    assert [version.number for version in files.checkpoints(0)] == [8, 5]


def test_store_that_is_away_holds_up_nothing_and_the_next_run_of_the_host_does_the_rest(
    hosts: Hosts, shared: Path
) -> None:
    shared.rmdir()
    shared.write_text("in the way")
    hosts.run("a", started(), hosts.saves("a", 1), epoch(1), hosts.saves("a", 2), epoch(2))
    assert hosts.state == "WAITING"
    assert sum("Training goes on" in note for note in hosts.notes) == 1
    assert "not all is at" in hosts.notes[-1]
    shared.unlink()
    shared.mkdir()
    hosts.close(hosts.keeping("a"))
    assert len(hosts.notes) == 2
    files = StudyFiles.of(str(shared), hosts.study.attributes["uid"])
    assert [version.number for version in files.checkpoints(0)] == [2]


def test_store_that_is_away_when_a_trial_is_settled_forgets_it_later(hosts: Hosts, shared: Path) -> None:
    hosts.run("a", started(), hosts.saves("a", 1), epoch(1))
    shared.rename(hosts.path / "moved")
    shared.write_text("in the way")
    hosts.run("a", started(epoch(1)), epoch(2), epoch(3), finished())
    assert hosts.state == "COMPLETE"
    assert any("goes on with what is here" in said for said in hosts.said)
    shared.unlink()
    (hosts.path / "moved").rename(shared)
    hosts.close(hosts.keeping("a"))
    assert not [path for path in shared.rglob("*") if path.is_file()]


def test_crashed_training_leaves_its_checkpoint_there(hosts: Hosts) -> None:
    crash = ChildError("training process was killed by signal 9")
    with pytest.raises(IndexError):  # it has no second process to start
        hosts.run("a", started(), hosts.saves("a", 1), epoch(1), crash)
    hosts.close(hosts.keeping("a"))
    files = StudyFiles.of(hosts.study.files or "", hosts.study.attributes["uid"])
    assert [version.number for version in files.checkpoints(0)] == [1]


# Artifacts, and what is typed


def _with_files(storage: Storage, shared: Path) -> StudyRecord:
    study = make_study(storage, 0.5)
    storage.set_study_user_attr(study.study_id, FILES, str(shared))
    return dataclasses.replace(study, attributes={**study.attributes, FILES: str(shared)})


def test_artifact_is_found_on_another_host(tmp_path: Path, shared: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path / 'study.db'}")
    study, here = _with_files(storage, shared), Home(tmp_path / "here")
    Artifacts(storage, here.artifacts).write("an-artifact", io.BytesIO(b"a model"))
    storage.set_study_system_attr(study.study_id, *described("an-artifact", "best.keras", "application/zip"))
    there = Artifacts(storage, tmp_path / "there")
    with pytest.raises(ArtifactNotFound):
        there.open_reader("an-artifact")
    files = StudyFiles.of(str(shared), study.attributes["uid"])
    Keeping(files, here, storage, study).close(threading.Event())
    assert there.open_reader("an-artifact").read() == b"a model"
    with pytest.raises(ArtifactNotFound):
        there.open_reader("another")


def test_model_of_a_retraining_is_found_on_another_host(tmp_path: Path, shared: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path / 'study.db'}")
    study, made = _with_files(storage, shared), tmp_path / "retrain"
    made.mkdir()
    (made / "best.keras").write_bytes(b"a model")
    retrained = Retrained(0, 0.5, "test", (1,), (0.6,), 0.6, None, None, 2000, "2026-01-01T00:00:00+00:00")
    keep_retrained(storage, study, tmp_path / "here", retrained, made)
    (artifact_id,) = [path.name for path in (tmp_path / "here").iterdir()]
    assert Artifacts(storage, tmp_path / "there").open_reader(artifact_id).read() == b"a model"
    unknown = dataclasses.replace(study, attributes={**study.attributes, FILES: "xyz://gone/p"})
    with pytest.raises(OSError, match="xyz"):  # as where it is away: told beside the result
        keep_retrained(storage, unknown, tmp_path / "here", retrained, made)


def test_worker_of_an_engine_is_handed_what_the_store_asks_for_if_the_study_keeps_files(tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path / 'study.db'}")
    environ = {"AWS_SECRET_ACCESS_KEY": "HIDDEN9", "AWS_ENDPOINT_URL": "http://minio:9000", "OTHER": "1"}
    orders = [
        order_of(
            *("s", storage, Home(tmp_path), "s"),
            code=None,
            source="synthetic",
            resources=Resources(gpus=0, cpus=1),
            files=files,
            environ=environ,
        )
        for files in (True, False)
    ]
    assert orders[0].environment.items() >= {name: environ[name] for name in environ if name != "OTHER"}.items()
    assert not environ.keys() & orders[1].environment.keys()
    assert "HIDDEN9" not in repr(orders[0])


def test_logs_are_kept_there(tmp_path: Path, shared: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path / 'study.db'}")
    study, here = _with_files(storage, shared), Home(tmp_path / "here")
    here.log(study.folder, "slot-0").parent.mkdir(parents=True)
    here.log(study.folder, "slot-0").write_text("what was printed")
    Keeping(StudyFiles.of(str(shared), study.attributes["uid"]), here, storage, study).close(threading.Event())
    (kept,) = shared.rglob("slot-0.log")
    assert kept.read_text() == "what was printed"


def test_delete_removes_what_is_kept_of_the_study_and_nothing_else(tmp_path: Path, shared: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    storage = open_storage(f"sqlite:///{home / 'alexsearch.db'}")
    study = _with_files(storage, shared)
    files = StudyFiles.of(str(shared), study.attributes["uid"])
    (tmp_path / "model").write_bytes(b"x" * 1_500_000)
    files.put_artifact("an-artifact", tmp_path / "model")
    (shared / "mine").write_text("stays")
    assert f", its files at {shared}" in CliRunner().invoke(main, ["status", "--home", str(home)]).output
    done = CliRunner().invoke(main, ["delete", "--home", str(home), "--study", "small", "--yes"])
    assert done.exit_code == 0, done.output
    assert f"with what it keeps at {shared}: 1.5 MB" in done.output
    assert [path.name for path in shared.rglob("*")] == ["mine"]


def test_study_whose_files_can_not_be_reached_can_be_deleted(tmp_path: Path, shared: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    study = _with_files(open_storage(f"sqlite:///{home / 'alexsearch.db'}"), shared)
    assert study.files
    open_storage(f"sqlite:///{home / 'alexsearch.db'}").set_study_user_attr(study.study_id, FILES, "xyz://gone/p")
    done = CliRunner().invoke(main, ["delete", "--home", str(home), "--study", "small", "--yes"])
    assert done.exit_code == 0, done.output
    assert "what it keeps elsewhere stays, since it can't be reached: files at xyz://gone/p" in done.output


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("xyz://bucket/p", "nothing is known by xyz://"),
        ("s3://me:HIDDEN9@bucket/p", "carries a user, a password or options"),
        ("/proc/nothing/here", "Is it mounted?"),
        ("/proc/nothing", "Make the folder writable"),
    ],
)
def test_place_that_is_none_is_told_before_anything_starts(tmp_path: Path, given: str, told: str) -> None:
    home = tmp_path / "home"
    done = CliRunner().invoke(main, ["run", "quick", "--data", "synthetic", "--home", str(home), "--files", given])
    assert done.exit_code == 2, done.output
    assert told in done.output
    assert "HIDDEN9" not in done.output
    assert open_storage(f"sqlite:///{home / 'alexsearch.db'}").get_all_studies() == []


def test_study_keeps_its_place_and_another_is_refused_with_both(tmp_path: Path, shared: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    storage = open_storage(f"sqlite:///{home / 'alexsearch.db'}")
    space = SearchSpace.from_dict({**SPACE.to_dict(), "study": {"name": "s", "trials": 1}})
    open_study(storage, "s", {"space": space.to_dict(), "data": DATA, FILES: str(shared)})
    file = tmp_path / "s.toml"
    file.write_text(
        '[study]\nname = "s"\ntrials = 1\n[data]\nsource = "synthetic"\nvalidation_images = 400\n[space]\n'
        "batch_size = 32\nlearning_rate = { low = 0.001, high = 0.1, log = true }\nepochs = 3\n"
        '[pruner]\nname = "none"\n'
    )
    words = ["run", str(file), "--home", str(home), "--files", str(tmp_path)]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2, done.output
    assert f"--files {tmp_path}: study 's' keeps its files at {shared}" in done.output
