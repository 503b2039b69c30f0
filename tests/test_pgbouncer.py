"""Through PgBouncer in transaction mode, which 1,000 workers need: a connection is another one each transaction."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from fleet import Fleet, ended, judge
from null_worker import Orders
from pgbouncer import pooled
from postgres_server import PostgresServer
from sqlalchemy import exc

from studies.store.opening import open_storage


@pytest.mark.slow
def test_workers_share_three_connections_from_an_empty_database_to_the_end(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path / "server")
    try:
        with pooled(server.database(tcp=True), tmp_path / "pool", connections=3) as url:
            fleet = Fleet(Orders(url=url, home=tmp_path, log=tmp_path / "log", trials=12, epochs=4, pruner="median"))
            for worker in [fleet.start() for _ in range(4)]:
                ended(worker)
            verdict = judge(fleet)
            assert verdict.problems == verdict.errors == []
            assert verdict.states == {"complete": 12}
            storage = open_storage(url, read_only=True)
            assert len(storage.get_all_trials(1)) == 12
            with storage.engine.connect() as connection, pytest.raises(exc.InternalError, match="read-only"):
                connection.execute(sa.text("UPDATE studies SET study_name = 'another'"))
            open_storage(url).set_study_user_attr(1, "written", "by those who may")
            storage.engine.dispose()
    finally:
        server.stop()
