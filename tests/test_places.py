"""Where the slots of a host compute."""

from __future__ import annotations

import pytest

from search.base.mistakes import InputError
from search.training.places import (
    CHILD_MEMORY_MB,
    Gpu,
    chosen_gpus,
    crowded,
    free_memory,
    plan_places,
    restricted,
    visible_gpus,
)

TWO = (Gpu(0, "A", 40960, "GPU-aa"), Gpu(1, "B", 40960, "GPU-bb"))


def test_one_worker_a_gpu_each_seeing_only_its_own() -> None:
    places = plan_places(None, TWO, cores=16)
    assert [(place.gpu, place.device, place.gpu_memory_mb) for place in places] == [
        ("GPU-aa", "gpu 0: A", None),
        ("GPU-bb", "gpu 1: B", None),
    ]


def test_workers_that_share_a_gpu_share_its_memory() -> None:
    places = plan_places(4, TWO, cores=16)
    assert [place.gpu for place in places] == ["GPU-aa", "GPU-bb", "GPU-aa", "GPU-bb"]
    assert all(place.gpu_memory_mb is not None and 2 * place.gpu_memory_mb <= 40960 for place in places)


def test_one_worker_on_a_cpu_has_all_cores_and_several_divide_them() -> None:
    assert [place.threads for place in plan_places(None, (), cores=8)] == [8]
    assert [place.threads for place in plan_places(3, (), cores=8)] == [2, 2, 2]


@pytest.mark.parametrize(("workers", "gpus", "cores", "most"), [(17, TWO, 2, "at most 16")])
def test_more_workers_than_places_are_refused(workers: int, gpus: tuple[Gpu, ...], cores: int, most: str) -> None:
    with pytest.raises(InputError, match=f"--workers.*{most}"):
        plan_places(workers, gpus, cores)


def test_more_workers_than_cores_take_turns_as_far_as_memory_goes() -> None:
    places = plan_places(4, (), cores=2, free_memory_mb=lambda: 4 * CHILD_MEMORY_MB)
    assert [place.threads for place in places] == [1, 1, 1, 1]
    assert "4 workers share 2 cores" in (crowded(places, 2) or "")
    assert crowded(places, 4) is None
    assert crowded(plan_places(4, TWO, cores=2), 2) is None
    with pytest.raises(InputError, match=r"4 workers on the CPU need about 4\.8 GB .* but 3\.7 GB are free.*at most 3"):
        plan_places(4, (), cores=2, free_memory_mb=lambda: 3.1 * CHILD_MEMORY_MB)
    assert free_memory() > 0


@pytest.mark.parametrize(
    ("visible", "expected"),
    [(None, ["GPU-aa", "GPU-bb"]), ("1", ["GPU-bb"]), ("GPU-bb,0", ["GPU-bb", "GPU-aa"]), ("", []), ("-1,0", [])],
)
def test_cuda_visible_devices_is_honoured(visible: str | None, expected: list[str]) -> None:
    assert [gpu.uuid for gpu in restricted(list(TWO), visible)] == expected


def test_machine_without_a_driver_has_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    import pynvml

    def missing() -> None:
        raise pynvml.NVMLError_LibraryNotFound

    monkeypatch.setattr(pynvml, "nvmlInit", missing)
    assert visible_gpus() == ()


@pytest.mark.parametrize(("wanted", "expected"), [("all", [0, 1]), ("none", []), ("1", [1]), ("1,0", [1, 0])])
def test_gpus_are_chosen_by_index(wanted: str, expected: list[int]) -> None:
    assert [gpu.index for gpu in chosen_gpus(TWO, wanted)] == expected


@pytest.mark.parametrize("wanted", ["2", "0,0", "first", ""])
def test_gpu_that_is_not_there_is_refused_naming_those_that_are(wanted: str) -> None:
    with pytest.raises(InputError, match=r"--gpus.*0 \(A\), 1 \(B\)"):
        chosen_gpus(TWO, wanted)


def test_trials_per_gpu_by_number_or_by_memory() -> None:
    assert len(plan_places(None, TWO, 16, trials_per_gpu=3)) == 6
    assert len(plan_places(None, TWO, 16, trials_per_gpu=None)) == 8
    small = (Gpu(0, "A", 6000, "GPU-aa"),)
    assert len(plan_places(None, small, 16, trials_per_gpu=None)) == 1
