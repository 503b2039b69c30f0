"""Checkpoints follow trials through a real S3 server: a host that is lost, a store that is away, and no secret told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from fleet import Fleet, judge
from null_worker import Orders
from optuna.trial import TrialState
from test_run import SPACE, Command

from search.base.file_store import FileStore, StudyFiles
from search.cli.main import main
from studies.record.catalog import find_study
from studies.store.epochs import epoch_history
from studies.store.opening import open_storage

pytestmark = pytest.mark.slow

SECRET = "wJalr-never-to-be-seen"
SERVER = """
import sys, time
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


@dataclass
class Server:
    """An S3 server in a process of its own."""

    process: subprocess.Popen[str]
    environment: dict[str, str]

    def bucket(self, name: str) -> str:
        import boto3

        # Not from the environment, which is the test's own to give.
        session = boto3.session.Session("AKIATEST", SECRET, region_name="us-east-1")
        session.client("s3", endpoint_url=self.environment["AWS_ENDPOINT_URL"]).create_bucket(Bucket=name)
        return f"s3://{name}/studies"


@pytest.fixture(scope="module")
def started_server() -> Iterator[Server]:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout
    port = process.stdout.readline().strip()
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "AKIATEST",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    yield Server(process, environment)
    process.send_signal(signal.SIGCONT)
    process.kill()
    process.wait()


@pytest.fixture
def server(started_server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    for name, value in started_server.environment.items():
        monkeypatch.setenv(name, value)
    return started_server


def kept(url: str, storage: str) -> StudyFiles:
    study = find_study(open_storage(storage), None)
    return StudyFiles.of(url, study.attributes["uid"])


def test_trial_of_a_lost_host_goes_on_elsewhere_with_one_epoch_repeated_at_most(server: Server, tmp_path: Path) -> None:
    url = server.bucket("lost")
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    orders = Orders(storage, tmp_path / "home-a", tmp_path / "log", trials=2, epochs=8, epoch_seconds=0.8, slots=2)
    fleet = Fleet(replace(orders, files=url, environment=server.environment))
    try:
        lost = fleet.start()
        fleet.wait(lambda: len(fleet.seen("trained")) >= 8)
        fleet.kill(lost)
        fleet.run(home=tmp_path / "home-b", epoch_seconds=0.0)
    finally:
        fleet.close()
    verdict = judge(fleet)
    assert verdict.problems == []
    assert verdict.states == {"complete": 2}
    trained = Counter((line["trial"], line["epoch"]) for line in fleet.seen("trained"))
    repeated = Counter(trial for (trial, _), times in trained.items() if times > 1)
    assert all(times <= 2 for times in trained.values())
    assert all(epochs <= 1 for epochs in repeated.values()), repeated
    assert kept(url, storage).size() == 0


def test_store_that_is_away_for_a_while_holds_up_nothing(server: Server, tmp_path: Path) -> None:
    url = server.bucket("away")
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    orders = Orders(storage, tmp_path / "home", tmp_path / "log", trials=1, epochs=30, epoch_seconds=0.1)
    fleet = Fleet(replace(orders, files=url, environment=server.environment))
    try:
        worker = fleet.start()
        fleet.wait(lambda: len(fleet.seen("trained")) >= 3)
        server.process.send_signal(signal.SIGSTOP)
        fleet.wait(lambda: len(fleet.seen("trained")) >= 30)  # while it answers nothing
        assert worker.is_alive()
        server.process.send_signal(signal.SIGCONT)
        worker.join(60)
    finally:
        server.process.send_signal(signal.SIGCONT)
        fleet.close()
    verdict = judge(fleet)
    assert verdict.problems == []
    assert verdict.states == {"complete": 1}
    assert kept(url, storage).size() == 0


def test_network_that_a_lost_host_trained_is_on_another_equal_in_every_bit_and_no_secret_is_told(
    server: Server, tmp_path: Path
) -> None:
    url = server.bucket("real")
    space = tmp_path / "small.toml"
    space.write_text(SPACE.replace("trials = 2", "trials = 1").replace("epochs = 3", "epochs = 12"))
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    lost, other = Command(tmp_path / "home-a", storage), Command(tmp_path / "home-b", storage)
    for host in (lost, other):
        host.environment |= server.environment
    undisturbed = Command(tmp_path / "home-c")
    beside = undisturbed.start("run", str(space))
    process = lost.start("run", str(space), "--files", url, "-v")
    store = FileStore(url)
    lost.wait_for(process, lambda: any("/checkpoints/" in path for path in store._fs.find(url)))
    process.kill()
    out, err = process.communicate()
    printed = out + err + other("worker", "--study", "small", "-v")
    assert "comes from s3://real/studies" in (other.home / f"alexsearch-{os.uname().nodename}.log").read_text()
    beside.communicate(timeout=240)
    (trial,), (alone,) = other.trials(), undisturbed.trials()
    assert (trial.state, trial.value) == (TrialState.COMPLETE, alone.value)
    histories = [
        [
            {name: value for name, value in epoch.items() if name != "seconds"}
            for epoch in epoch_history(open_storage(command.url), each._trial_id)
        ]
        for command, each in ((other, trial), (undisturbed, alone))
    ]
    assert histories[0] == histories[1]
    assert len(histories[0]) == 12
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path
    assert SECRET not in printed
    assert [path.rpartition("/")[2] for path in store._fs.find(url)] == ["slot-0.log"]


TRAIN = """
import time

def keep(folder, epoch):
    folder.mkdir(parents=True)
    (folder / "epoch").write_text(str(epoch))

def train(trial):
    folder = trial.restore()
    trial.log(f"begins after {(folder / 'deep' / 'epoch').read_text() if folder else 'nothing'}")
    for epoch in trial.epochs():
        time.sleep(0.1)
        trial.save(lambda folder: keep(folder / "deep", epoch))
        trial.report(epoch, score=epoch)
"""
OWN_SPACE = """
[study]
name = "small"
trials = 1
[train]
function = "train.py:train"
metric = "score"
epochs = 40
[space]
lr = { low = 1e-4, high = 0.1, log = true }
[pruner]
name = "none"
"""


def test_training_of_ones_own_goes_on_elsewhere_with_its_files(server: Server, tmp_path: Path) -> None:
    url, storage = server.bucket("own"), f"sqlite:///{tmp_path / 'study.db'}"
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "own.toml").write_text(OWN_SPACE)
    lost, other = Command(tmp_path / "home-a", storage), Command(tmp_path / "home-b", storage)
    for host in (lost, other):
        host.environment |= server.environment
    process, store = lost.start("run", str(tmp_path / "own.toml"), "--files", url), FileStore(url)
    lost.wait_for(process, lambda: any("/checkpoints/" in path for path in store._fs.find(url)))
    process.kill()
    process.communicate()
    other("worker", "--study", "small", "--code", str(tmp_path))
    (trial,) = other.trials()
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 40)
    log = next(other.home.glob("alexsearch-*.log")).read_text()
    assert "begins after" in log
    assert "begins after nothing" not in log
    assert kept(url, storage).store.versions(kept(url, storage)._trial(0)) == []


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({}, "there is no such bucket"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "Could not connect to the endpoint"),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "Unable to locate credentials"),
    ],
    ids=["no bucket", "no server", "no credentials"],
)
def test_bucket_that_can_not_be_written_is_told_before_anything_starts(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], told: str
) -> None:
    del server
    for name, value in {**environment, "AWS_EC2_METADATA_DISABLED": "true", "HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    words = ["run", "quick", "--data", "synthetic", "--home", str(tmp_path / "home"), "--files", "s3://not-there/p"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2, done.output
    assert told in done.output
    assert SECRET not in done.output
    assert open_storage(f"sqlite:///{tmp_path / 'home' / 'alexsearch.db'}").get_all_studies() == []
