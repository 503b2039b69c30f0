"""Workers as jobs: over submitit's local executor, and over a real Slurm where one starts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import optuna
import psutil
import pytest
from local_jobs import LocalJobs
from own_fleet import OwnFleet, judge
from slurm_cluster import SlurmCluster, slurm_cluster

from search.base.mistakes import InputError
from search.run.engines.engine import Ended, EngineError, Order
from search.run.engines.jobs import PATIENCE_SECONDS, JobsError, JobStaff, State, jobs_folder
from search.run.engines.on_slurm import OnSlurm, Sbatch, gpus_of, settings_of
from studies.store.opening import open_storage

pytest.importorskip("submitit", reason="submitit is not installed: the extra slurm")

CANARY = "canary-5f2b"
WORKER = """
import os, sys, time
print("begins", os.environ["SECRET"] == sys.argv[1][::-1], flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    with slurm_cluster(tmp_path_factory.mktemp("slurm")) as running:
        yield running


@pytest.fixture
def on_cluster(cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> SlurmCluster:
    """This process is on a login node."""
    for name, value in cluster.environ.items():
        monkeypatch.setenv(name, value)
    return cluster


def order(folder: Path) -> Order:
    (folder / "worker.py").write_text(WORKER)
    program = (str(folder / "worker.py"),)
    return Order((CANARY[::-1],), {"SECRET": CANARY}, folder, folder / "logs", program)


def until(true: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def told(staff: JobStaff, count: int) -> dict[int, Ended]:
    """Of so many workers, how they ended."""
    found: list[Ended] = []

    def more() -> bool:
        found.extend(staff.ended())
        return len(found) >= count

    until(more)
    assert len({each.number for each in found}) == len(found) == count
    return {each.number: each for each in found}


@pytest.mark.parametrize("where", ["local", pytest.param("slurm", marks=pytest.mark.slow)])
def test_password_is_in_one_file_of_this_user_alone_and_close_leaves_neither_it_nor_a_process(
    where: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALEXSEARCH_STORAGE", f"postgresql://me:{CANARY}@db/x")  # Slurm keeps a job's environment
    given, places = order(tmp_path), [tmp_path]
    if where == "slurm":
        places.append(request.getfixturevalue("on_cluster").folder)
    folder = jobs_folder(given)
    jobs = Sbatch(settings_of("gres=gpu:1"), folder) if where == "slurm" else LocalJobs(folder)
    staff = JobStaff(given, jobs, folder, poll_seconds=0.2)
    staff.start(0)
    log = tmp_path / "logs" / "worker-0.log"
    try:
        until(lambda: staff.ended() == [] and log.exists() and "begins True" in log.read_text())
        assert not [command for command in commands() if any(CANARY in word for word in command)]
        files = [file for place in places for file in place.rglob("*") if file.is_file()]
        assert [file for file in files if CANARY.encode() in file.read_bytes()] == [folder / "environment"]
        assert [path.stat().st_mode & 0o777 for path in (folder, folder / "environment")] == [0o700, 0o600]
    finally:
        staff.close()
    until(lambda: not [command for command in commands() if given.program[0] in command])
    assert list(log.parent.iterdir()) == [log]


def commands() -> list[list[str]]:
    return [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]


# ---- what is asked for


def test_comma_may_stand_within_a_value() -> None:
    asked = settings_of("partition=gpu,exclude=n1,n2,time=4:00:00,exclusive,cpus-per-task=8")
    assert asked == {
        "partition": "gpu",
        "exclude": "n1,n2",
        "time": "4:00:00",
        "exclusive": "",
        "cpus_per_task": "8",
    }
    assert settings_of("") == {}


def test_all_that_is_wrong_with_what_is_asked_for_is_told_at_once() -> None:
    with pytest.raises(InputError) as caught:
        settings_of("partion=gpu,time=,cpus_per_task=some,comment=a\nb,array=0-3")
    lines = str(caught.value).splitlines()
    assert [line.split(" ")[1] for line in lines] == ["unknown", "time", "cpus_per_task", "comment", "unknown"]
    assert "unknown key partion. Known keys: account, array_parallelism," in lines[0]
    assert all(line.startswith("--slurm: ") for line in lines)


@pytest.mark.parametrize(
    ("asked", "gpus"),
    [
        ("", 0),
        ("gres=gpu:1", 1),
        ("gres=gpu:a100:2", 2),
        ("gres=gpu", 1),
        ("gres=shard:2", 0),
        ("gpus_per_node=4", 4),
        ("gpus_per_task=a100:1", 1),
    ],
)
def test_gpus_are_counted_however_they_are_asked_for(asked: str, gpus: int) -> None:
    assert gpus_of(settings_of(asked)) == gpus
    assert OnSlurm(asked).resources.gpus == gpus


def test_without_slurm_on_this_host_nothing_is_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="there is no sbatch, srun, squeue, scancel and sinfo on this host"):
        OnSlurm().places(2)
    with pytest.raises(InputError, match="--workers N"):
        OnSlurm().places(None)


@pytest.mark.slow
def test_slurm_is_asked_whether_it_can_be_done_before_anything_is_sent(on_cluster: SlurmCluster) -> None:
    before = on_cluster.ask("squeue", "--noheader", "--states=all", "--format=%i")
    engine = OnSlurm("gres=gpu:1,cpus_per_task=2")
    assert [place.device for place in engine.places(4)] == [
        "jobs of Slurm in the default partition, 1 GPU and 2 CPUs each"
    ] * 4
    assert engine.is_here()
    for asked, workers, words in (
        ("gres=gpu:1", 5, "5 workers with 1 GPU and 1 CPU each, but the default partition has room for 4 at a time"),
        ("exclusive", 3, "has room for 2 at a time on its 2 nodes"),
        ("cpus_per_task=5", 1, "has room for 0 at a time on its 2 nodes. Ask for less each"),
        ("partition=nope", 2, "no partition nope. There are: closed, main, short and urgent"),
        ("partition=short,time=4:00:00", 2, "Requested time limit is invalid"),
        ("time=soon", 2, "Invalid --time specification"),
        ("gres=tpu:1", 2, r"Invalid generic resource \(gres\) specification"),
        ("mem=1000G", 2, "Requested node configuration is not available"),
    ):
        with pytest.raises(InputError, match=words):
            OnSlurm(asked).places(workers)
    assert on_cluster.ask("squeue", "--noheader", "--states=all", "--format=%i") == before


@pytest.mark.slow
def test_slurm_that_does_not_answer_is_said_so(cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = cluster.folder / "elsewhere.conf"
    text = (cluster.folder / "slurm.conf").read_text().replace("SlurmctldPort=", "SlurmctldPort=1 #")
    elsewhere.write_text(text + "MessageTimeout=2\n")
    monkeypatch.setenv("SLURM_CONF", str(elsewhere))
    monkeypatch.setenv("PATH", cluster.environ["PATH"])
    with pytest.raises(InputError, match=r"Unable to contact slurm controller.*Is it running\?.*Nothing was started"):
        OnSlurm().places(1)


class FailingJobs:
    """A scheduler that fails so, if it does."""

    error: JobsError | None = None

    def submit(self, calls: Sequence[Callable[[], object]]) -> list[str]:
        if self.error:
            raise self.error
        return [str(number) for number, _ in enumerate(calls)]

    def states(self) -> Mapping[str, State]:
        if self.error:
            raise self.error
        return {}

    def cancel(self, jobs: Sequence[str], *, kill: bool = False) -> None:
        raise JobsError(f"no {jobs} to cancel, {kill=}")


def test_slurm_that_is_away_for_a_while_is_waited_for_and_its_refusal_is_not(tmp_path: Path) -> None:
    now = [0.0]
    jobs = FailingJobs()
    jobs.error = JobsError("Unable to contact slurm controller (connect failure)", is_away=True)
    given = order(tmp_path)
    staff = JobStaff(given, jobs, jobs_folder(given), clock=lambda: now[0])
    staff.start(0)
    assert staff.ended() == []
    now[0] += PATIENCE_SECONDS - 10
    assert staff.ended() == []
    jobs.error = None
    now[0] += 5
    assert staff.ended() == []  # sent
    now[0] += 20
    assert told(staff, 1) == {0: Ended(0, None, "job 0: it is not in the queue any more")}
    jobs.error = JobsError("Job violates accounting/QOS policy")
    staff.start(0)
    now[0] += 20
    with pytest.raises(EngineError, match="Job violates accounting/QOS policy"):
        staff.ended()
    staff.start(1)
    staff.stop()
    told_of = staff.ended()
    assert {each.number: each.is_innocent for each in told_of} == {0: True, 1: True}  # neither was sent
    assert staff.ended() == []
    staff.close()
    assert not list((tmp_path / "logs").iterdir())


# ---- whole runs on a real Slurm


def run(fleet: OwnFleet, *arguments: str) -> subprocess.Popen[bytes]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("ALEXSEARCH", "PYTHONUNB"))}
    environment |= {"ALEXSEARCH_HOME": str(fleet.folder / "home"), "ALEXSEARCH_STORAGE": fleet.url}
    with (fleet.folder / f"worker-{len(fleet.workers)}").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "search.cli.main", "run", "s.toml", "--engine", "slurm", *arguments],
            cwd=fleet.folder,
            env=environment,
            stdout=output,
            stderr=output,
        )
    fleet.workers.append(process)
    return process


def printed(fleet: OwnFleet) -> str:
    return (fleet.folder / "worker-0").read_text()


def begun(fleet: OwnFleet) -> set[str]:
    """The trainings that have reported."""
    return {line["mark"] for line in fleet.evidence() if line["what"] == "reported"}


def restarts(fleet: OwnFleet) -> int:
    return printed(fleet).count("was ended from outside, and is started again")


def one_that_trains(fleet: OwnFleet, cluster: SlurmCluster) -> str:
    """The id of a running job, after a training has begun that had not before."""
    before = begun(fleet)
    until(lambda: bool(begun(fleet) - before))
    job, *_ = cluster.ask("squeue", "--noheader", "--array", "--name=alexsearch", "--states=R", "--format=%i").split()
    return job


@pytest.mark.slow
def test_study_is_worked_off_though_its_jobs_are_preempted_cancelled_and_out_of_time(
    on_cluster: SlurmCluster, tmp_path: Path
) -> None:
    fleet = OwnFleet(tmp_path / "fleet", f"sqlite:///{tmp_path / 'study.db'}", trials=2, epochs=400)
    go, function = tmp_path / "go", fleet.folder / "train.py"
    slow = f"time.sleep(0 if os.path.exists({str(go)!r}) else 0.2)"
    function.write_text(function.read_text().replace("time.sleep(0.003)", slow))
    try:
        process = run(fleet, "--workers", "2", "--slurm", "exclusive,time=60,signal_delay_s=58")
        until(lambda: len(begun(fleet)) >= 2)
        for _ in range(2):  # each takes a node for itself, and a worker has to go
            on_cluster.ask("sbatch", "--partition=urgent", "--exclusive", "--output=/dev/null", "--wrap=true")
        until(lambda: restarts(fleet) >= 2)
        on_cluster.ask("scancel", one_that_trains(fleet, on_cluster))
        until(lambda: restarts(fleet) >= 3)
        # Slurm looks every 30 s whose time is about to be over.
        on_cluster.ask("scontrol", "update", f"jobid={one_that_trains(fleet, on_cluster)}", "timelimit=1")
        before = restarts(fleet)
        until(lambda: restarts(fleet) > before)
        go.touch()
        assert process.wait(60) == 0, printed(fleet)
        assert on_cluster.ask("squeue", "--noheader", "--name=alexsearch") == ""
        verdict = judge(fleet)
    finally:
        fleet.close()
        on_cluster.ask("scancel", "--name=alexsearch")
    assert (verdict.budget, verdict.lost, verdict.twice, verdict.left, verdict.errors) == ([], [], [], [], [])
    assert verdict.states == {"complete": 2}
    assert verdict.attempts == 0  # nothing of it was anybody's crash


@pytest.mark.slow
def test_interrupted_run_cancels_its_jobs_and_their_trials_wait_again(on_cluster: SlurmCluster, tmp_path: Path) -> None:
    fleet = OwnFleet(tmp_path / "fleet", f"sqlite:///{tmp_path / 'study.db'}", trials=3, epochs=100_000)
    try:
        process = run(fleet, "--workers", "2")
        until(lambda: len(begun(fleet)) >= 2)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130, printed(fleet)
        assert on_cluster.ask("squeue", "--noheader", "--name=alexsearch") == ""
    finally:
        fleet.close()
        on_cluster.ask("scancel", "--name=alexsearch")
    storage = open_storage(fleet.url)
    trials = optuna.load_study(study_name="s", storage=storage).trials
    storage.engine.dispose()
    assert [trial.state.name for trial in trials] == ["WAITING"] * 3
    assert not list((fleet.folder / "home" / "s" / "logs").glob("slurm-*"))
