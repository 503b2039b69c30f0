"""What optuna-dashboard would answer by a 500: over real sockets, beside what it must go on taking."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from visitors import ask, edit, request_of, send, served, visited

from studies.store.storage import Storage


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    with visited(tmp_path) as opened:
        yield opened


def test_csv_of_a_study_of_two_lines_and_a_lost_artifact_say_why(storage: Storage, tmp_path: Path) -> None:
    lost = next(key for key in storage.get_trial(5).system_attrs if key.startswith("artifacts:")).partition(":")[2]
    with served(storage, tmp_path) as port:
        assert ask(port, "GET", "/csv/2")[::2] == (
            400, b'{"reason": "The study\'s name has several lines, which no file\'s name can have."}'
        )  # fmt: skip
        assert ask(port, "GET", f"/artifacts/2/5/{lost}")[0] == 404
        assert ask(port, "GET", f"/artifacts/1/1/{lost}")[0] == 404
        assert ask(port, "GET", "/csv/1")[0] == 200
        assert ask(port, "GET", "/static/bundle.js")[0] == 200  # http.client: Accept-Encoding: identity
        assert send(port, request_of("GET", "/static/bundle.js"))[0] == 200


def test_edits_of_optuna_dashboards_pages_are_taken(storage: Storage, tmp_path: Path) -> None:
    file = "data:text/plain;base64," + base64.b64encode(b"x" * 3_000_000).decode()
    with served(storage, tmp_path, allow_edits=True) as port:
        assert edit(port, "POST", "/api/studies", {"study_name": "new", "directions": ["maximize"]})[0] == 201
        assert edit(port, "PUT", "/api/studies/1/note", {"version": 1, "body": "found it " * 10_000})[0] == 204
        assert edit(port, "PUT", "/api/studies/1/1/note", {"version": 1, "body": "of a trial"})[0] == 204
        assert edit(port, "POST", "/api/trials/5/user-attrs", {"user_attrs": {"grade": "good"}})[0] == 204
        assert edit(port, "POST", "/api/artifacts/2/5", {"file": file, "filename": "x.txt"})[0] == 201
        assert edit(port, "POST", "/api/trials/5/tell", {"state": "Complete", "values": [0.5]})[0] == 204
        assert edit(port, "POST", "/api/trials/5/tell", {"state": "Fail"})[0] == 409
        assert edit(port, "POST", "/api/studies/3/rename", {"study_name": "newer"})[0] == 201
        assert ask(port, "DELETE", "/api/studies/3", Origin=f"http://127.0.0.1:{port}")[0] == 204
    assert storage.get_trial(5).values == [0.5]
