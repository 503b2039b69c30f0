"""Configurations trained on the places there are: what is done is kept, what crashed goes on, what is wrong is said."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from null_child import FINGERPRINT, Played, fails

import search.retraining.jobs
from model.config import DataError, DataSpec, DiskError, FailureKind, OutOfMemoryError, TrainConfig
from search.base.mistakes import InputError
from search.retraining.jobs import Job, JobError, Step, Workshop, claimed
from search.training.places import Gpu
from studies.queue.queue import RETRIES

GPUS = tuple(Gpu(index, "null", 16384, f"GPU-{index}") for index in range(2))


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Played:
    played = Played()
    monkeypatch.setattr(search.retraining.jobs, "available_cores", lambda: 4)
    return played


@pytest.fixture
def told() -> list[Step | str]:
    return []


@pytest.fixture
def shop(tmp_path: Path, told: list[Step | str], played: Played) -> Workshop:
    return Workshop(
        data=DataSpec(source="synthetic"),
        fingerprint=FINGERPRINT,
        split="test",
        cache=tmp_path,
        log=lambda place: tmp_path / f"{place.name}.log",
        gpus=(),
        workers=None,
        trials_per_gpu=1,
        tell=told.append,
        note=told.append,
        start=played.start,
    )


def jobs_in(folder: Path, count: int = 3, **changes: Any) -> list[Job]:
    config: dict[str, Any] = {"batch_size": 32, "learning_rate": 0.1, "epochs": 2, "precision": "float32", **changes}
    return [Job(f"seed {n}", TrainConfig(**config, seed=n), folder, f"seed-{n}") for n in range(count)]


def seeds_of(played: Played) -> list[int]:
    return sorted(config["seed"] for _, config in played.trained)


def failing(reason: FailureKind, seed: int = 1, *, retry: bool = False) -> Any:
    message = fails(reason, "so it is.", retry=retry)
    return lambda config, _attempt: message if config["seed"] == seed else None


def kinds(told: Sequence[Step | str], job: Job) -> list[str]:
    return [step.kind for step in told if isinstance(step, Step) and step.job == job]


def test_every_job_is_trained_and_leaves_its_record_and_network(
    shop: Workshop, played: Played, told: list[Step | str], tmp_path: Path
) -> None:
    jobs = jobs_in(tmp_path)
    records = shop.train(jobs)
    assert [record.config for record in records] == [job.config for job in jobs]
    assert [len(record.history) for record in records] == [2, 2, 2]
    assert all(job.model.is_file() for job in jobs)
    assert kinds(told, jobs[0]) == ["started", "progress", "epoch", "epoch", "finished"]
    assert played.openings == ["none"]  # one place on a CPU, and nothing is held out
    assert played.killed == 1


def test_as_many_run_at_a_time_as_there_are_places(shop: Workshop, played: Played, tmp_path: Path) -> None:
    together = threading.Barrier(2, timeout=30)
    played.device, played.gate = "gpu", together.wait
    replace(shop, gpus=GPUS).train(jobs_in(tmp_path, 4))
    assert {place for place, _ in played.trained} == {"slot-0", "slot-1"}


def test_cores_are_divided_among_jobs_not_among_workers_without_one(
    shop: Workshop, played: Played, tmp_path: Path
) -> None:
    together = threading.Barrier(2, timeout=30)
    played.gate = together.wait
    replace(shop, workers=4).train(jobs_in(tmp_path, 2))
    assert [place.threads for place in played.places] == [2, 2]


def test_what_is_done_is_not_trained_again(shop: Workshop, played: Played, tmp_path: Path) -> None:
    first = shop.train(jobs_in(tmp_path, 2))
    assert shop.train(jobs_in(tmp_path, 3))[:2] == first
    assert seeds_of(played) == [0, 1, 2]
    (tmp_path / "seed-1.keras").unlink()
    shop.train(jobs_in(tmp_path, 3))
    assert seeds_of(played) == [0, 1, 1, 2]


def test_network_that_nobody_wants_is_not_saved(shop: Workshop, played: Played, tmp_path: Path) -> None:
    replace(shop, split="validation").train([replace(job, keeps_model=False) for job in jobs_in(tmp_path)])
    assert played.openings == ["held-out"]
    assert not list(tmp_path.glob("*.keras"))


def test_crashed_process_is_started_again_and_its_job_goes_on(
    shop: Workshop, played: Played, told: list[Step | str], tmp_path: Path
) -> None:
    played.trouble = lambda config, attempt: "crash" if config["seed"] == 1 and attempt <= RETRIES else None
    jobs = jobs_in(tmp_path)
    assert shop.train(jobs)[1].failure is None
    assert seeds_of(played) == [0, *[1] * (RETRIES + 1), 2]
    assert kinds(told, jobs[1]).count("note") == RETRIES


def test_job_that_always_crashes_ends_the_training_and_what_was_done_stays(
    shop: Workshop, played: Played, tmp_path: Path
) -> None:
    played.trouble = lambda config, _attempt: "crash" if config["seed"] == 1 else None
    with pytest.raises(JobError, match=r"seed 1: training process was killed by signal 9.*attempt 4"):
        shop.train(jobs_in(tmp_path))
    assert (tmp_path / "seed-0.json").exists()
    played.trouble = lambda _config, _attempt: None
    shop.train(jobs_in(tmp_path))
    assert seeds_of(played).count(0) == 1


def test_divergence_is_written_down_and_not_tried_again(
    shop: Workshop, played: Played, told: list[Step | str], tmp_path: Path
) -> None:
    played.trouble = failing("diverged")
    jobs = jobs_in(tmp_path)
    for _ in range(2):
        assert [record.failure for record in shop.train(jobs)] == [None, "diverged: so it is.", None]
    assert seeds_of(played) == [0, 1, 2]
    assert kinds(told, jobs[1])[-1] == "failed"


@pytest.mark.parametrize(
    ("reason", "retry", "kind"),
    [("out-of-memory", False, OutOfMemoryError), ("disk", True, DiskError), ("data", False, DataError)],
)
def test_what_is_no_fault_of_the_configuration_ends_it_and_leaves_no_record(
    shop: Workshop, played: Played, tmp_path: Path, reason: FailureKind, retry: bool, kind: type[Exception]
) -> None:
    played.trouble = failing(reason, retry=retry)
    with pytest.raises(kind, match="so it is"):
        shop.train(jobs_in(tmp_path))
    assert not (tmp_path / "seed-1.json").exists()
    assert (tmp_path / "seed-0.json").exists()


def test_data_that_a_child_refuses_or_that_changed_is_said(shop: Workshop, played: Played, tmp_path: Path) -> None:
    played.fingerprint = "sha256:other"
    with pytest.raises(DataError, match="changed while it was being read"):
        shop.train(jobs_in(tmp_path))
    played.refuses = "no such images"
    with pytest.raises(DataError, match="no such images"):
        shop.train(jobs_in(tmp_path))
    assert not played.trained


def test_gpu_that_tensorflow_does_not_see_is_told_and_the_cpu_used(
    shop: Workshop, played: Played, told: list[Step | str], tmp_path: Path
) -> None:
    assert len(replace(shop, gpus=GPUS).train(jobs_in(tmp_path))) == 3
    assert any("this TensorFlow can't use it" in note for note in told if isinstance(note, str))
    assert seeds_of(played) == [0, 1, 2]


def test_workers_of_gpus_that_are_no_use_are_at_most_one_a_core(
    shop: Workshop, played: Played, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("search.retraining.jobs", "search.training.places"):
        monkeypatch.setattr(f"{module}.available_cores", lambda: 2)
    assert len(replace(shop, gpus=GPUS, workers=3).train(jobs_in(tmp_path))) == 3
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
    shop: Workshop, played: Played, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    shop.train(jobs_in(tmp_path))
    before = {path: path.read_bytes() for path in tmp_path.glob("seed-*")}
    asked = jobs_in(tmp_path) if changes else jobs_in(tmp_path, learning_rate=0.2)
    with pytest.raises(InputError, match=rf"holds trainings on {said}.*--out"):
        replace(shop, **changes).train(asked)
    assert {path: path.read_bytes() for path in tmp_path.glob("seed-*")} == before
    assert len(played.trained) == 3


@pytest.mark.parametrize("content", ["", "{", "[]", '{"seed": 0, "history": []}', "null"])
def test_damaged_record_is_refused_with_the_way_out(
    shop: Workshop, played: Played, tmp_path: Path, content: str
) -> None:
    (tmp_path / "seed-1.json").write_text(content)
    with pytest.raises(InputError, match=r"seed-1\.json: can't be read as what a finished training left\. Delete it"):
        shop.train(jobs_in(tmp_path))
    assert not played.trained


def test_interrupted_crew_kills_its_children(shop: Workshop, played: Played, tmp_path: Path) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    played.gate = interrupt
    with pytest.raises(KeyboardInterrupt):
        replace(shop, workers=2).train(jobs_in(tmp_path))
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
