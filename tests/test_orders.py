"""What a worker on another host is told: all it needs, and no secret where others can read it."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from search.base.home import Home
from search.run.engines.engine import Order, Resources
from search.run.engines.orders import order_of
from search.training.places import Gpu, cores_here, plan_places
from studies.store.opening import open_storage
from studies.store.storage import Storage
from studies.store.urls import storage_url

GPU = Gpu(0, "pretend", 16000, "GPU-0", pretend=True)


def order(storage: Storage, folder: Path, resources: Resources, source: str | None = "cifar10") -> Order:
    environ = {"PGPASSWORD": "secret", "ALEXSEARCH_PASSWORD": "the dashboard's"}
    return order_of("s", storage, Home(folder), "s", code=None, source=source, resources=resources, environ=environ)


@pytest.mark.parametrize("name", ["study.db", "50%.db", "what?.db", "日本.db"])
def test_worker_opens_the_very_database(name: str, tmp_path: Path) -> None:
    url = storage_url(None, tmp_path).set(database=str(tmp_path / name))
    told = order(open_storage(url), tmp_path, Resources()).environment["ALEXSEARCH_STORAGE"]
    assert storage_url(told, Path("/elsewhere")).database == str(tmp_path / name)


def test_password_of_the_database_is_in_the_environment_alone(postgres_url: str, tmp_path: Path) -> None:
    url = make_url(postgres_url).set(password="p@ss/w{o}rd:%")
    made = order(open_storage(url), tmp_path, Resources(0.5))
    assert storage_url(made.environment["ALEXSEARCH_STORAGE"], tmp_path).password == "p@ss/w{o}rd:%"
    assert made.environment["PGPASSWORD"] == "secret"
    assert "ALEXSEARCH_PASSWORD" not in made.environment
    assert not any("p@ss" in word or "secret" in word for word in made.arguments)


def test_paths_are_whole_and_names_of_data_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    storage = open_storage(f"sqlite:///{tmp_path / 'study.db'}")
    assert "--data=cifar10" in order(storage, Path("runs"), Resources()).arguments
    made = order(storage, Path("runs"), Resources(), "images.npz")
    assert f"--data={tmp_path / 'images.npz'}" in made.arguments
    assert str(tmp_path / "runs") in made.arguments


def test_worker_keeps_to_its_share_of_a_gpu_or_of_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = open_storage(f"sqlite:///{tmp_path / 'study.db'}")
    (whole,) = plan_places(1, (GPU,), 8)
    assert whole.gpu_memory_mb is None
    for name, value in order(storage, tmp_path, Resources(0.25)).environment.items():
        monkeypatch.setenv(name, value)
    (shared,) = plan_places(1, (GPU,), 8)
    assert shared.gpu_memory_mb == 16000 * 0.9 / 4
    cpu = order(storage, tmp_path, Resources(0.0, 1.0))
    assert cpu.arguments[cpu.arguments.index("--gpus") + 1] == "none"
    monkeypatch.setenv("ALEXSEARCH_CORES", cpu.environment["ALEXSEARCH_CORES"])
    assert cores_here() == 1
