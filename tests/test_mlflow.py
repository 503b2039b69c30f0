"""A study in MLflow: what a server that speaks its REST API is told, once, whatever happens in between."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from null_child import Played
from optuna.trial import TrialState
from study_maker import SPACE, make_study
from test_hooks import Listening

from search.base.home import Home
from search.base.mistakes import InputError
from search.run.host import run_search
from search.run.mlflow import Mirror, MlflowError, Server
from search.run.request import RunRequest
from search.space.space import SearchSpace
from studies.record.catalog import StudyRecord
from studies.store.opening import open_storage
from studies.store.storage import Storage


@dataclass
class Tracking:
    """A tracking server in memory, as far as it is asked here."""

    uri: str = ""
    experiments: dict[str, str] = field(default_factory=dict)
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    away: bool = False
    loses: str = ""
    """The call whose answer is lost once, after it was done."""
    authorization: str | None = None

    def answer(self, call: str, sent: dict[str, Any]) -> tuple[int, dict[str, Any]]:  # noqa: PLR0911 - one a call
        self.calls.append(call)
        match call:
            case "experiments/get-by-name":
                if (found := self.experiments.get(sent["experiment_name"])) is None:
                    return 404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "none"}
                return 200, {"experiment": {"experiment_id": found}}
            case "experiments/create":
                self.experiments[sent["name"]] = str(len(self.experiments) + 1)
                return 200, {"experiment_id": self.experiments[sent["name"]]}
            case "runs/search":
                return 200, {"runs": [self._shown(run) for run in self.runs.values()]}
            case "runs/create":
                run_id = f"run-{len(self.runs)}"
                tags = {tag["key"]: tag["value"] for tag in sent["tags"]}
                self.runs[run_id] = {"id": run_id, "tags": tags, "metrics": [], "params": {}, "status": "RUNNING"}
                return 200, {"run": {"info": {"run_id": run_id}}}
            case "runs/log-batch":
                run = self.runs[sent["run_id"]]
                run["metrics"] += sent.get("metrics", [])
                run["params"] |= {each["key"]: each["value"] for each in sent.get("params", [])}
                run["tags"] |= {each["key"]: each["value"] for each in sent.get("tags", [])}
                return 200, {}
            case "runs/update":
                self.runs[sent["run_id"]] |= {"status": sent["status"], "end": sent["end_time"]}
                return 200, {}
        return 404, {}

    @staticmethod
    def _shown(run: dict[str, Any]) -> dict[str, Any]:
        tags = [{"key": key, "value": value} for key, value in run["tags"].items()]
        latest = {each["key"]: each for each in run["metrics"]}
        return {
            "info": {"run_id": run["id"], "status": run["status"]},
            "data": {"tags": tags, "metrics": list(latest.values())},
        }

    def of(self, number: int) -> dict[str, Any]:
        (found,) = (run for run in self.runs.values() if run["tags"]["alexsearch.trial"] == str(number))
        return found


@pytest.fixture
def tracking() -> Iterator[Tracking]:
    found = Tracking()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            parts = urlsplit(self.path)
            text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            sent = json.loads(text) if text else {key: value[0] for key, value in parse_qs(parts.query).items()}
            found.authorization = self.headers.get("Authorization")
            call = parts.path.removeprefix("/api/2.0/mlflow/")
            status, document = (503, {}) if found.away else found.answer(call, sent)
            if call == found.loses:
                found.loses, status, document = "", 500, {}
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST  # noqa: N815 - the library's name

        def log_message(self, *_: Any) -> None: ...

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    found.uri = f"http://127.0.0.1:{http.server_port}"
    yield found
    http.shutdown()
    http.server_close()


def mirror_of(tracking: Tracking, storage: Storage, study: StudyRecord) -> Mirror:
    def trials() -> list[Any]:
        every = storage.get_all_trials(study.study_id, deepcopy=False)
        return [trial for trial in every if trial.state != TrialState.WAITING]

    return Mirror(Server(tracking.uri), storage, study, trials, every=3600)


def test_each_trial_is_a_run_with_its_parameters_curves_and_end(storage: Storage, tracking: Tracking) -> None:
    study = make_study(storage, 0.4, TrialState.PRUNED, TrialState.FAIL, trials=5)
    mirror_of(tracking, storage, study).close()
    assert list(tracking.experiments) == ["small"]
    assert [tracking.of(number)["status"] for number in range(3)] == ["FINISHED", "KILLED", "FAILED"]
    assert len(tracking.runs) == 3
    first = tracking.of(0)
    assert {name: float(value) for name, value in first["params"].items()} == {"learning_rate": 0.01, "seed": 0}
    curve = [(each["step"], each["value"]) for each in first["metrics"] if each["key"] == "val_accuracy"]
    assert curve == [(1, 0.4), (2, 0.4), (3, 0.4)]
    times = [each["timestamp"] for each in first["metrics"] if each["key"] == "loss"]
    assert [after - before for before, after in pairwise(times)] == [2000, 2000]
    assert tracking.of(2)["tags"]["alexsearch.reason"] == "diverged: the loss became NaN"


def test_nothing_is_sent_twice_by_whoever_sends_it_next(storage: Storage, tracking: Tracking) -> None:
    study = make_study(storage, 0.4, 0.5)
    for _ in range(2):
        mirror_of(tracking, storage, study).close()
    assert len(tracking.runs) == 2
    assert len(tracking.of(0)["metrics"]) == 3 * 6
    assert tracking.calls.count("runs/create") == 2


@pytest.mark.parametrize("lost", ["experiments/create", "runs/create", "runs/log-batch", "runs/update"])
def test_answer_that_is_lost_is_found_done(storage: Storage, tracking: Tracking, lost: str) -> None:
    study = make_study(storage, 0.4, 0.5)
    mirror = mirror_of(tracking, storage, study)
    tracking.loses = lost
    with pytest.raises(MlflowError, match="answered 500"):
        mirror.look()
    mirror._runs.clear()  # as the thread does
    mirror.look()
    mirror.close()
    assert len(tracking.runs) == 2
    assert all(len(run["metrics"]) == 3 * 6 and run["status"] == "FINISHED" for run in tracking.runs.values())


def test_server_that_is_away_is_told_once_and_caught_up_with(tmp_path: Path, tracking: Tracking) -> None:
    storage, view = open_storage(f"sqlite:///{tmp_path / 'study.db'}"), Listening()
    space, home = SearchSpace.from_dict(SPACE), Home(tmp_path / "home")
    tracking.away = True
    request = RunRequest(space, home, storage, workers=1, start=Played().start, mlflow=Server(tracking.uri))
    assert run_search(request, view, threading.Event()).counts.complete == 4
    (told,) = [note for note in view.notes if "MLflow" in note]
    assert told == f"MLflow at {tracking.uri}: answered 503. The search goes on without."
    assert tracking.runs == {}
    tracking.away = False
    more = RunRequest(space, home, storage, add=1, workers=1, start=Played().start, mlflow=Server(tracking.uri))
    run_search(more, view, threading.Event())
    assert sorted(run["tags"]["alexsearch.trial"] for run in tracking.runs.values()) == ["0", "1", "2", "3", "4"]
    assert {run["status"] for run in tracking.runs.values()} == {"FINISHED"}


@pytest.mark.parametrize("uri", ["mlruns", "file:///mlruns", "http://", "http://me:secret@host"])
def test_what_is_no_address_of_a_server_is_refused_without_its_secret(uri: str) -> None:
    with pytest.raises(InputError) as caught:
        Server(uri)
    assert "secret" not in str(caught.value)


def test_who_asks_comes_from_mlflows_own_variables(tracking: Tracking) -> None:
    with pytest.raises(MlflowError, match="404 RESOURCE_DOES_NOT_EXIST"):
        Server(tracking.uri, {"MLFLOW_TRACKING_TOKEN": "t"}).ask("experiments/get-by-name", experiment_name="a b&c")
    assert tracking.authorization == "Bearer t"
    named = {"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": "p"}
    Server(tracking.uri, named).ask("experiments/create", name="a b&c")
    assert tracking.authorization == "Basic bWU6cA=="
    Server(tracking.uri, {}).ask("experiments/get-by-name", experiment_name="a b&c")
    assert tracking.authorization is None
