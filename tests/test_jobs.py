"""Configurations trained on the places there are: what is done is kept, what crashed goes on, what is wrong is said."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from null_child import FINGERPRINT, NullChild, Played, fails

from model.config import DataError, DataSpec, DiskError, FailureKind, OutOfMemoryError, TrainConfig
from search.base.home import Home
from search.base.mistakes import InputError
from search.retraining.jobs import Client, JobError, Means
from search.retraining.records import KeptJob, RecordingWorkshop, claimed
from search.retraining.view import Happening, Job, Silent
from search.space.own_files import Own
from search.training.child import StartError
from search.training.messages import Ready, Validation
from search.training.places import Gpu, Place
from studies.queue.standing import RETRIES

GPUS = tuple(Gpu(index, "null", 16384, f"GPU-{index}") for index in range(2))


class Told(Silent):
    """Remembers what was told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.happened: list[tuple[Job, Happening]] = []

    def note(self, text: str, _style: str = "") -> None:
        self.notes.append(text)

    def tell(self, job: Job, happening: Happening) -> None:
        self.happened.append((job, happening))

    def kinds(self, kept: KeptJob) -> list[str]:
        return [type(happening).__name__ for job, happening in self.happened if job == kept.job]


@pytest.fixture
def played() -> Played:
    return Played()


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def shop(tmp_path: Path, told: Told, played: Played) -> RecordingWorkshop:
    return RecordingWorkshop(
        means=Means(Home(tmp_path), start=played.start, visible=lambda: (), cores=4),
        data=DataSpec(source="synthetic"),
        validation="none",
        log=lambda place: tmp_path / f"{place.name}.log",
        view=told,
        split="test",
        fingerprint=FINGERPRINT,
    )


def equipped(shop: RecordingWorkshop, **changes: Any) -> RecordingWorkshop:
    """The same workshop with other means."""
    return replace(shop, means=replace(shop.means, **changes))


def jobs_in(folder: Path, count: int = 3, **changes: Any) -> list[KeptJob]:
    config: dict[str, Any] = {"batch_size": 32, "learning_rate": 0.1, "epochs": 2, "precision": "float32", **changes}
    return [KeptJob(f"seed {n}", TrainConfig(**config, seed=n), folder, f"seed-{n}") for n in range(count)]


def seeds_of(played: Played) -> list[int]:
    return sorted(config["seed"] for _, config in played.trained)


def failing(reason: FailureKind, seed: int = 1, *, retry: bool = False) -> Any:
    message = fails(reason, "so it is.", retry=retry)
    return lambda config, _attempt: message if config["seed"] == seed else None


def test_every_job_is_trained_and_leaves_its_record_and_network(
    shop: RecordingWorkshop, played: Played, told: Told, tmp_path: Path
) -> None:
    jobs = jobs_in(tmp_path)
    records = shop.train_kept(jobs)
    assert [record.config for record in records] == [job.config for job in jobs]
    assert [len(record.history) for record in records] == [2, 2, 2]
    assert all(job.model.is_file() for job in jobs)
    assert told.kinds(jobs[0]) == ["Started", "Progress", "Epoch", "Epoch", "Trained"]
    assert played.openings == ["none"]  # one place on a CPU, and nothing is held out
    assert played.killed == 1


def test_link_in_the_folder_leads_to_nothing_that_is_removed(shop: RecordingWorkshop, tmp_path: Path) -> None:
    (job,) = jobs_in(tmp_path / "out", 1)
    precious = tmp_path / "theirs" / job.stem / "precious"
    precious.parent.mkdir(parents=True)
    precious.write_text("theirs")
    job.checkpoints.parent.parent.mkdir()
    job.checkpoints.parent.symlink_to(tmp_path / "theirs")
    shop.train_kept([job])
    assert precious.read_text() == "theirs"


def test_as_many_run_at_a_time_as_there_are_places(shop: RecordingWorkshop, played: Played, tmp_path: Path) -> None:
    together = threading.Barrier(2, timeout=30)
    played.device, played.gate = "gpu", together.wait
    equipped(shop, visible=lambda: GPUS).train_kept(jobs_in(tmp_path, 4))
    assert {place for place, _ in played.trained} == {"slot-0", "slot-1"}


def test_cores_are_divided_among_jobs_not_among_workers_without_one(
    shop: RecordingWorkshop, played: Played, tmp_path: Path
) -> None:
    together = threading.Barrier(2, timeout=30)
    played.gate = together.wait
    equipped(shop, workers=4).train_kept(jobs_in(tmp_path, 2))
    assert [place.threads for place in played.places] == [2, 2]


def test_what_is_done_is_not_trained_again(shop: RecordingWorkshop, played: Played, tmp_path: Path) -> None:
    first = shop.train_kept(jobs_in(tmp_path, 2))
    assert shop.train_kept(jobs_in(tmp_path, 3))[:2] == first
    assert seeds_of(played) == [0, 1, 2]
    (tmp_path / "seed-1.keras").unlink()
    shop.train_kept(jobs_in(tmp_path, 3))
    assert seeds_of(played) == [0, 1, 1, 2]


def test_network_that_nobody_wants_is_not_saved(shop: RecordingWorkshop, played: Played, tmp_path: Path) -> None:
    replace(shop, split="validation", validation="held-out").train_kept(
        [replace(job, keeps_model=False) for job in jobs_in(tmp_path)]
    )
    assert played.openings == ["held-out"]
    assert not list(tmp_path.glob("*.keras"))


def test_crashed_process_is_started_again_and_its_job_goes_on(
    shop: RecordingWorkshop, played: Played, told: Told, tmp_path: Path
) -> None:
    played.trouble = lambda config, attempt: "crash" if config["seed"] == 1 and attempt <= RETRIES else None
    jobs = jobs_in(tmp_path)
    assert shop.train_kept(jobs)[1].failure is None
    assert seeds_of(played) == [0, *[1] * (RETRIES + 1), 2]
    assert [note.partition(":")[0] for note in told.notes] == ["seed 1 goes on from its last epoch"] * RETRIES


def test_job_that_always_crashes_ends_the_training_and_what_was_done_stays(
    shop: RecordingWorkshop, played: Played, tmp_path: Path
) -> None:
    played.trouble = lambda config, _attempt: "crash" if config["seed"] == 1 else None
    with pytest.raises(JobError, match=r"seed 1: training process was killed by signal 9.*attempt 4"):
        shop.train_kept(jobs_in(tmp_path))
    assert (tmp_path / "seed-0.json").exists()
    played.trouble = lambda _config, _attempt: None
    shop.train_kept(jobs_in(tmp_path))
    assert seeds_of(played).count(0) == 1


def test_divergence_is_written_down_and_not_tried_again(
    shop: RecordingWorkshop, played: Played, told: Told, tmp_path: Path
) -> None:
    played.trouble = failing("diverged")
    jobs = jobs_in(tmp_path)
    for _ in range(2):
        assert [record.failure for record in shop.train_kept(jobs)] == [None, "diverged: so it is.", None]
    assert seeds_of(played) == [0, 1, 2]
    assert told.kinds(jobs[1])[-1] == "Trained"


@pytest.mark.parametrize(
    ("reason", "retry", "kind"),
    [("out-of-memory", False, OutOfMemoryError), ("disk", True, DiskError), ("data", False, DataError)],
)
def test_what_is_no_fault_of_the_configuration_ends_it_and_leaves_no_record(
    shop: RecordingWorkshop, played: Played, tmp_path: Path, reason: FailureKind, retry: bool, kind: type[Exception]
) -> None:
    played.trouble = failing(reason, retry=retry)
    with pytest.raises(kind, match="so it is"):
        shop.train_kept(jobs_in(tmp_path))
    assert not (tmp_path / "seed-1.json").exists()
    assert (tmp_path / "seed-0.json").exists()


def test_data_that_a_child_refuses_or_that_changed_is_said(
    shop: RecordingWorkshop, played: Played, tmp_path: Path
) -> None:
    played.fingerprint = "sha256:other"
    with pytest.raises(DataError, match="changed while it was being read"):
        shop.train_kept(jobs_in(tmp_path))
    played.refuses = "no such images"
    with pytest.raises(DataError, match="no such images"):
        shop.train_kept(jobs_in(tmp_path))
    assert not played.trained


def test_gpu_that_tensorflow_does_not_see_is_told_and_the_cpu_used(
    shop: RecordingWorkshop, played: Played, told: Told, tmp_path: Path
) -> None:
    assert len(equipped(shop, visible=lambda: GPUS).train_kept(jobs_in(tmp_path))) == 3
    assert any("this TensorFlow can't use it" in note for note in told.notes)
    assert seeds_of(played) == [0, 1, 2]


def test_workers_of_gpus_that_are_no_use_are_at_most_one_a_core(
    shop: RecordingWorkshop, played: Played, tmp_path: Path
) -> None:
    assert len(equipped(shop, visible=lambda: GPUS, workers=3, cores=2).train_kept(jobs_in(tmp_path))) == 3
    assert seeds_of(played) == [0, 1, 2]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fingerprint": "sha256:other"}, "other images"),
        ({"split": "validation"}, "all training images"),
        ({}, "another configuration"),
    ],
)
def test_folder_of_other_trainings_is_refused_and_left_alone(
    shop: RecordingWorkshop, played: Played, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    shop.train_kept(jobs_in(tmp_path))
    before = {path: path.read_bytes() for path in tmp_path.glob("seed-*")}
    asked = jobs_in(tmp_path) if changes else jobs_in(tmp_path, learning_rate=0.2)
    with pytest.raises(InputError, match=rf"holds trainings on {said}.*--out"):
        replace(shop, **changes).train_kept(asked)
    assert {path: path.read_bytes() for path in tmp_path.glob("seed-*")} == before
    assert len(played.trained) == 3


@pytest.mark.parametrize("content", ["", "{", "[]", '{"seed": 0, "history": []}', "null"])
def test_damaged_record_is_refused_with_the_way_out(
    shop: RecordingWorkshop, played: Played, tmp_path: Path, content: str
) -> None:
    (tmp_path / "seed-1.json").write_text(content)
    with pytest.raises(InputError, match=r"seed-1\.json: can't be read as what a finished training left\. Delete it"):
        shop.train_kept(jobs_in(tmp_path))
    assert not played.trained


def test_interrupted_crew_kills_its_children(shop: RecordingWorkshop, played: Played, tmp_path: Path) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    played.gate = interrupt
    with pytest.raises(KeyboardInterrupt):
        equipped(shop, workers=2).train_kept(jobs_in(tmp_path))
    assert played.killed == len(played.openings)


def test_folder_is_trained_into_by_one_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    with claimed(folder), pytest.raises(InputError, match="another alexsearch is training into it"), claimed(folder):
        pass
    with claimed(folder):
        pass


def test_folder_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"file/below: can't be written.*--out"), claimed(tmp_path / "file" / "below"):
        pass


def test_process_that_can_not_start_is_told_with_the_way_out(shop: RecordingWorkshop, tmp_path: Path) -> None:
    class Stillborn(NullChild):
        def wait_ready(self, _stopping: threading.Event) -> Ready:
            raise StartError("training process ended with code 1, see the log")

    def start(
        place: Place, data: DataSpec, cache: Path, log: Path, validation: Validation = "none", own: Own | None = None
    ) -> Stillborn:
        del cache, own
        return Stillborn(Played(), place, data, log, validation)

    with pytest.raises(JobError, match=r"ended with code 1, see the log\. `alexsearch doctor` says what is wrong"):
        equipped(shop, start=start).train_kept(jobs_in(tmp_path))


def test_client_may_end_a_job_and_say_with_how_many_threads_it_is_trained(
    shop: RecordingWorkshop, played: Played, tmp_path: Path
) -> None:
    class Impatient(Client):
        def goes_on(self, job: Job, epoch: int) -> bool:
            return epoch < job.config.seed

    kept = jobs_in(tmp_path)[2]
    replace(shop, threads=3).train([Job("a trial", kept.config)], Impatient())
    assert [place.threads for place in played.places] == [3]
    assert played.verdicts == {1: True, 2: False}
    assert (played.asked[0].checkpoints, played.asked[0].model) == (None, None)
