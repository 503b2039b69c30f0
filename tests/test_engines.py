"""What holds for every engine: so many workers running, told of once when one ends, ended when asked to."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from elsewhere import Watching, study_of
from local_jobs import LocalJobs
from played_engine import Processes
from slurm_cluster import slurm_cluster

from search.base.mistakes import InputError
from search.run.engines.engine import Ended, Order, Resources, Staff
from search.run.engines.jobs import JobStaff, jobs_folder
from search.run.engines.local import Threads
from search.run.engines.on_ray import OnRay, planned
from search.run.engines.on_slurm import Sbatch

SECRET = "kept-to-itself"
WORKER = """
import os, signal, sys, time
from pathlib import Path
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
with (Path(os.environ["NUMBERS"]) / "begun").open("a") as file:
    file.write(f"{os.getpid()}\\n")
print("at work, with", os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
while not (Path(os.environ["NUMBERS"]) / "end").exists():
    time.sleep(0.02)
code = int((Path(os.environ["NUMBERS"]) / "end").read_text())
print(f"ends with {code}", flush=True)
if code < 0:
    os.kill(os.getpid(), -code)
    time.sleep(60)
sys.exit(code)
"""


@dataclass
class Case:
    """A staff whose workers, once begun, end with the code that somebody writes."""

    staff: Staff
    folder: Path
    has_processes: bool = True

    def begun(self) -> list[int]:
        file = self.folder / "begun"
        return [int(line) for line in file.read_text().split()] if file.exists() else []

    def end(self, code: int) -> None:
        (self.folder / "end.new").write_text(str(code))
        (self.folder / "end.new").replace(self.folder / "end")

    def until(self, condition: Callable[[], Any], ended: list[Ended]) -> list[Ended]:
        """What has ended until `condition` holds."""
        limit = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < limit, f"what was waited for did not happen: {ended}"
            ended += self.staff.ended()
        return ended

    def ended(self, count: int) -> list[Ended]:
        found: list[Ended] = []
        return self.until(lambda: len(found) >= count, found)

    def wait_begun(self, count: int) -> None:
        assert self.until(lambda: len(self.begun()) >= count, []) == []


def order(folder: Path) -> Order:
    (folder / "worker.py").write_text(WORKER)
    environment = {"NUMBERS": str(folder), "ALEXSEARCH_STORAGE": f"postgresql://me:{SECRET}@db/x"}
    return Order(("worker",), environment, folder, folder / "logs", (str(folder / "worker.py"),))


def threads(folder: Path) -> Threads:
    stopping = threading.Event()

    def work() -> None:
        with (folder / "begun").open("a") as file:
            file.write(f"{os.getpid()}\n")
        while not stopping.wait(0.01) and not (folder / "end").exists():
            pass
        if (folder / "end").exists() and (folder / "end").read_text() != "0":
            raise ZeroDivisionError("ends with 3")

    return Threads([work, work], stopping)


@pytest.fixture(
    params=[
        "threads",
        "processes",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("submitit", "slurm", "ray")),
    ]
)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    if request.param == "threads":
        case = Case(threads(tmp_path), tmp_path, has_processes=False)
    elif request.param == "processes":
        case = Case(Processes(order(tmp_path)), tmp_path)
    elif request.param in ("submitit", "slurm"):
        pytest.importorskip("submitit", reason="submitit is not installed: the extra slurm")
        given = order(tmp_path)
        folder = jobs_folder(given)
        if request.param == "slurm":
            request.getfixturevalue("slurm")
        jobs = Sbatch({}, folder) if request.param == "slurm" else LocalJobs(folder)
        case = Case(JobStaff(given, jobs, folder, poll_seconds=0.2), tmp_path)
    else:
        cluster = request.getfixturevalue("cluster")
        engine = OnRay(cluster.address, gpus=1.0)
        assert len(engine.places(None)) == 2
        case = Case(engine.open(order(tmp_path)), tmp_path)
    yield case
    case.staff.close()


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A real Slurm of two nodes, reached from this process."""
    with (
        slurm_cluster(tmp_path_factory.mktemp("slurm"), proctrack="pgid") as running,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in running.environ.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A Ray cluster of three nodes on this machine: a head, and two with a pretended GPU each."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    cluster_utils = pytest.importorskip("ray.cluster_utils", reason="ray is not installed")
    store = {"object_store_memory": 80 * 2**20}
    head = {"num_cpus": 1, "num_gpus": 0, "include_dashboard": False, **store}
    made = cluster_utils.Cluster(initialize_head=True, head_node_args=head)
    made.store = store
    for _ in range(2):
        made.add_node(num_cpus=2, num_gpus=1, **store)
    yield made
    made.shutdown()


def test_worker_is_told_of_once_when_it_has_done_all(case: Case) -> None:
    case.staff.start(0)
    case.staff.start(1)
    case.wait_begun(2)
    case.end(0)
    ended = case.ended(2)
    assert sorted((each.number, each.code, each.is_done) for each in ended) == [(0, 0, True), (1, 0, True)]
    assert case.staff.ended() == []


def test_failure_is_told_with_what_the_worker_said_last_and_its_number_may_start_again(case: Case) -> None:
    case.staff.start(1)
    case.wait_begun(1)
    case.end(3)
    (ended,) = case.ended(1)
    assert (ended.number, ended.is_done, ended.is_innocent) == (1, False, False)
    assert "ends with 3" in ended.told
    assert SECRET not in ended.told
    (case.folder / "end").unlink()
    case.staff.start(1)
    case.wait_begun(2)
    case.end(0)
    assert [each.is_done for each in case.ended(1)] == [True]


def test_all_end_when_told_to_stop(case: Case) -> None:
    case.staff.start(0)
    case.staff.start(1)
    case.wait_begun(2)
    case.staff.stop()
    ended = case.ended(2)
    assert {each.number for each in ended} == {0, 1}
    assert {each.code for each in ended} == {143 if case.has_processes else 0}


def test_nobody_is_left_after_close(case: Case) -> None:
    case.staff.start(0)
    case.wait_begun(1)
    worker = psutil.Process(case.begun()[0])
    case.staff.close()
    case.staff.close()
    if case.has_processes:
        case.until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE, [])


def test_secret_is_on_no_command_line(case: Case) -> None:
    case.staff.start(0)
    case.wait_begun(1)
    for process in psutil.process_iter(["cmdline"]):
        assert not any(SECRET in word for word in process.info["cmdline"] or ())


def test_order_shows_no_secret(tmp_path: Path) -> None:
    assert SECRET not in repr(order(tmp_path))


def test_worker_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            Processes(order(tmp_path)).start(0)
            while not (tmp_path / "begun").exists():
                time.sleep(0.02)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    worker = int((tmp_path / "begun").read_text())
    limit = time.monotonic() + 20
    while psutil.pid_exists(worker) and psutil.Process(worker).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < limit
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("nodes", "gpus", "workers", "resources", "count"),
    [
        ([(0, 1), (2, 8), (1, 8)], None, None, Resources(1.0, 1.0), 3),
        ([(2, 8), (1, 8)], 0.5, None, Resources(0.5, 1.0), 6),
        ([(2, 8), (1, 1)], 0.5, 4, Resources(0.5, 1.0), 5),  # the second node lacks a CPU for its other half
        ([(0, 4), (0, 8)], None, None, Resources(0.0, 4.0), 2),
        ([(0, 4), (0, 8)], None, 3, Resources(0.0, 4.0), 3),
        ([(0, 4), (0, 8)], None, 12, Resources(0.0, 1.0), 12),
        ([(8, 8)], 0.0, 2, Resources(0.0, 4.0), 2),
    ],
)
def test_cluster_holds_what_its_nodes_hold(
    nodes: list[tuple[float, float]], gpus: float | None, workers: int | None, resources: Resources, count: int
) -> None:
    assert planned(nodes, gpus, workers) == (resources, count)


@pytest.mark.parametrize(
    ("nodes", "gpus", "workers", "told"),
    [
        ([(0, 4)], 1.0, None, "has 1 node, 0 GPUs, 4 CPUs. Add a node with GPUs, or train on CPUs with --gpus none"),
        ([(1, 4), (1, 4)], 1.0, 3, "room for 2 workers with 1 GPU each, and 3 asked for"),
        ([(1, 4)], 0.5, 3, "room for 2 workers with 1/2 of a GPU each"),
        ([(0, 4)], None, 5, "room for 4 workers with a CPU each, and 5 asked for. Add nodes, or use --workers 4"),
        ([(0, 0)], None, None, "room for 0 workers with a CPU each"),
        ([(1, 4)], 0.01, None, "at most 8"),
    ],
)
def test_cluster_that_lacks_room_is_refused_with_what_there_is(
    nodes: list[tuple[float, float]], gpus: float | None, workers: int | None, told: str
) -> None:
    with pytest.raises(InputError, match="--") as refused:
        planned(nodes, gpus, workers)
    assert told in str(refused.value)


def test_no_cluster_to_be_found_is_refused_within_seconds() -> None:
    pytest.importorskip("ray", reason="ray is not installed")
    with pytest.raises(InputError, match="ray start --head"):
        OnRay("127.0.0.1:1").places(None)


def lose(cluster: Any, node: Any) -> None:
    """Kill all of a node, and have the cluster know it."""
    import ray

    cluster.remove_node(node, allow_graceful=False)
    limit = time.monotonic() + 60
    while next(each["Alive"] for each in ray.nodes() if each["NodeID"] == node.node_id):
        assert time.monotonic() < limit
        time.sleep(0.1)


@pytest.mark.slow
def test_node_that_is_killed_in_the_middle_costs_no_trial(cluster: Any, tmp_path: Path) -> None:
    node = cluster.add_node(num_cpus=2, num_gpus=1, **cluster.store)
    study = study_of(tmp_path, trials=6, epochs=100)
    view = Watching(30, lambda: lose(cluster, node))
    outcome = study.run(OnRay(cluster.address, gpus=1.0), view, workers=3)
    assert (outcome.counts.complete, outcome.counts.budget) == (6, 6)
    assert [note for note in view.notes if "is lost, and is started again" in note]
    study.check()
