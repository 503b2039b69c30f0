"""The loads of `tests/benchmarks`, short: nothing of a time is asserted here, and everything else is."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks import load, pages


def hold(figures: list[load.Figure]) -> dict[str, float]:
    broken = [figure for figure in figures if not figure.holds and not figure.is_time]
    assert broken == []
    return {figure.name: figure.value for figure in figures}


def test_busy_workers_on_one_sqlite_file_lose_nothing(tmp_path: Path) -> None:
    assert hold(load.sqlite(tmp_path, workers=4, seconds=2, trials=500))["reports acknowledged"] > 20


@pytest.mark.slow
def test_busy_workers_take_few_connections_of_postgres(tmp_path: Path) -> None:
    assert hold(load.postgres(tmp_path, workers=6, seconds=2, trials=500))["reports acknowledged"] > 20


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["sqlite", "postgres"], indirect=True)
def test_workers_killed_at_random_leave_an_exact_budget(tmp_path: Path, database_url: str) -> None:
    orders = load.orders_for(tmp_path / "load", database_url, trials=1, epochs=1)
    assert hold(load.kill(orders, kills=6, workers=3))["workers killed"] == 6


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["sqlite", "postgres"], indirect=True)
def test_runs_of_a_function_lose_nothing_where_they_and_its_processes_are_killed(
    tmp_path: Path, database_url: str
) -> None:
    figures = hold(load.own(tmp_path / "load", database_url, kills=4, workers=2, epochs=5))
    # A study may be at its end before the last is due.
    assert 2 <= figures["workers killed"] + figures["training processes killed"] <= 4


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["sqlite", "postgres"], indirect=True)
def test_large_study_is_measured(tmp_path: Path, database_url: str) -> None:
    figures = hold(load.large(tmp_path / "load", database_url, trials=300, settled=200, takes=2))
    assert figures["take and ask, p50, s"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["sqlite", "postgres"], indirect=True)
def test_pages_over_a_large_study_are_measured(tmp_path: Path, database_url: str) -> None:
    figures = hold(pages.pages(tmp_path / "load", database_url, trials=300, settled=200, looks=2))
    assert figures["a study's page, the first time, s"] > 0
    assert figures["its data, MB"] > 0.1
