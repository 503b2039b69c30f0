"""Two hosts, one cut off for a while and one lost for good: network namespaces, with a Postgres server between them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from null_worker import Orders
from postgres_server import PostgresServer
from two_hosts import Network, disturbed, why_not


@pytest.fixture
def network() -> Iterator[Network]:
    if missing := why_not():
        pytest.skip(missing)
    with Network() as network:
        yield network


@pytest.mark.slow
def test_a_host_cut_off_and_another_lost_for_good_cost_no_trial(tmp_path: Path, network: Network) -> None:
    """The graces are a fifteenth of the real ones; `benchmarks/two_hosts.py` has those."""
    server = PostgresServer(tmp_path / "server", network.address)
    orders = Orders("", tmp_path, tmp_path, trials=24, epochs=5, epoch_seconds=0.4, verdict_seconds=0.4)
    orders = replace(orders, grace_seconds=4.0)
    try:
        show = disturbed(tmp_path / "study", server, network, orders, cut_after=1.0, cut_seconds=7.0, kill_after=10.0)
    finally:
        server.stop()
    assert show.verdict.problems == show.verdict.errors == []
    assert show.verdict.states == {"complete": 24}
    assert show.moved >= 2  # the host that was cut off was taken for dead, and so was the one that was lost
    assert show.late >= 1  # what it then told of those trials was discarded
    assert show.after_return >= 1  # and it worked on
