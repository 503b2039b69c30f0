"""A study in MLflow: an experiment called as the study is, and a run a trial, with its parameters and curves.

A thread of the host's own brings the tracking server up to date with the database, every few seconds and at the end, by
MLflow's REST API. The database says what there is and the server what it has, so nothing is sent twice, whoever sends
it; a server that was away is caught up with, and one that stays away is told once and costs the search nothing.
"""

from __future__ import annotations

import base64
import datetime
import json
import logging
import os
import queue as queues
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode, urlsplit

from optuna.trial import FrozenTrial, TrialState

from search.base.mistakes import InputError
from studies.record.catalog import StudyRecord
from studies.store.epochs import epoch_history
from studies.store.errors import StorageError
from studies.store.storage import Storage
from studies.words import failure_of, one_line

EVERY_SECONDS = 10.0
REQUEST_SECONDS = 10.0
END_SECONDS = 60.0
"""So long the end of a run waits for what is not sent yet."""
MOST_METRICS, MOST_PARAMS = 1000, 100
"""In one `log-batch`, as the API limits it."""
STATUS = {TrialState.COMPLETE: "FINISHED", TrialState.PRUNED: "KILLED", TrialState.FAIL: "FAILED"}
UID, NUMBER = "alexsearch.study", "alexsearch.trial"
"""Tags by which a run is known again."""

log = logging.getLogger(__name__)


class MlflowError(Exception):
    """The server is away, or refused. The message has no secret."""


class Server:
    """A tracking server, by what of its REST API is needed here."""

    def __init__(self, uri: str, environ: Mapping[str, str] = os.environ) -> None:
        """Who is asked for, MLflow's own variables say: MLFLOW_TRACKING_TOKEN, or _USERNAME and _PASSWORD.

        Raises:
            InputError: `uri` is no address of a server.
        """
        parts = urlsplit(uri)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.password:
            raise InputError(
                "--mlflow: must be the address of a tracking server, as in http://localhost:5000, without a password "
                "(MLFLOW_TRACKING_PASSWORD has it)."
            )
        self.name = f"{parts.scheme}://{parts.netloc}"
        self._base = uri.rstrip("/") + "/api/2.0/mlflow/"
        self._headers = {"Content-Type": "application/json", "User-Agent": "alexsearch"}
        if token := environ.get("MLFLOW_TRACKING_TOKEN"):
            self._headers["Authorization"] = f"Bearer {token}"
        elif user := environ.get("MLFLOW_TRACKING_USERNAME"):
            secret = f"{user}:{environ.get('MLFLOW_TRACKING_PASSWORD', '')}".encode()
            self._headers["Authorization"] = f"Basic {base64.b64encode(secret).decode()}"

    def ask(self, call: str, **sent: Any) -> dict[str, Any]:
        """What the server answers. Raises MlflowError."""
        body = None if call.endswith("get-by-name") else json.dumps(sent).encode()
        query = "" if body else "?" + urlencode(sent)
        try:
            # Its scheme is http or https: that was asked when it was given.
            request = urllib.request.Request(self._base + call + query, body, self._headers)  # noqa: S310
            with urllib.request.urlopen(request, timeout=REQUEST_SECONDS) as answer:  # noqa: S310
                document: dict[str, Any] = json.loads(answer.read() or b"{}")
                return document
        except urllib.error.HTTPError as error:
            with error:
                raise MlflowError(_refusal(error.code, error.read(10_000))) from None
        except urllib.error.URLError as error:
            raise MlflowError(str(error.reason)) from None
        except (OSError, ValueError) as error:
            raise MlflowError(str(error) or type(error).__name__) from None


def _refusal(code: int, body: bytes) -> str:
    try:
        document = json.loads(body)
        return f"{code} {document['error_code']}: {one_line(str(document['message']))[:300]}"
    except (ValueError, KeyError, TypeError):
        return f"answered {code}"


class Mirror:
    """Keeps one study's experiment up to date, until it is closed."""

    def __init__(
        self,
        server: Server,
        storage: Storage,
        study: StudyRecord,
        trials: Callable[[], list[FrozenTrial]],
        every: float = EVERY_SECONDS,
    ) -> None:
        """`trials` gives those of the study that were begun; `every` is how many seconds lie between two looks."""
        self.remarks: queues.SimpleQueue[str] = queues.SimpleQueue()
        """What people should know: that the server is away, and that it is back."""
        self._server, self._storage, self._study, self._trials = server, storage, study, trials
        self._every = every
        self._sent: dict[int, int] = {}
        """The last epoch that a run has, by the trial's number."""
        self._runs: dict[int, str] = {}
        self._ended: set[int] = set()
        self._away = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._thread.start()

    def close(self, seconds: float = END_SECONDS) -> None:
        """Send what is left, as far as it can be done in so many seconds."""
        self._closing.set()
        self._thread.join(seconds)

    def _work(self) -> None:
        over = False
        while not over:
            over = self._closing.wait(self._every)
            try:
                self.look()
            except (MlflowError, StorageError) as error:
                self._runs.clear()  # another may have sent in the meantime: the server is asked anew
                self._remark(away=True, text=f"MLflow at {self._server.name}: {error}. The search goes on without.")
            except Exception:
                log.exception("mlflow")  # a defect here is no trial's
            else:
                self._remark(away=False, text=f"MLflow at {self._server.name} is up to date again")

    def _remark(self, *, away: bool, text: str) -> None:
        if away != self._away:
            self._away = away
            log.warning("%s", text)
            self.remarks.put(text)

    def look(self) -> None:
        """Bring the server up to date. Raises MlflowError if it is away."""
        if not self._runs:
            self._know_again()
        for trial in self._trials():
            if trial.number not in self._ended:
                self._send(trial, epoch_history(self._storage, trial._trial_id))

    def _know_again(self) -> None:
        """Which runs the server has, how far they are, and which have ended."""
        name = f"{self._study.name}"
        try:
            found = self._server.ask("experiments/get-by-name", experiment_name=name)["experiment"]
            self._experiment = str(found["experiment_id"])
        except MlflowError as error:
            if not str(error).startswith("404"):
                raise
            self._experiment = str(self._server.ask("experiments/create", name=name)["experiment_id"])
        uid, page = self._study.attributes["uid"], ""
        while True:
            found = self._server.ask(
                "runs/search",
                experiment_ids=[self._experiment],
                filter=f"tags.`{UID}` = '{uid}'",
                max_results=1000,
                page_token=page,
            )
            for run in found.get("runs", []):
                tags = {tag["key"]: tag["value"] for tag in run["data"].get("tags", [])}
                number = int(tags[NUMBER])
                steps = [int(metric.get("step", 0)) for metric in run["data"].get("metrics", [])]
                self._runs[number], self._sent[number] = run["info"]["run_id"], max(steps, default=0)
                if run["info"]["status"] in STATUS.values():
                    self._ended.add(number)
            page = found.get("next_page_token", "")
            if not page:
                return

    def _send(self, trial: FrozenTrial, epochs: Sequence[Mapping[str, Any]]) -> None:
        begun = _milliseconds(trial.datetime_start)
        if trial.number not in self._runs:
            tags = {
                "mlflow.runName": f"trial-{trial.number:05d}",
                UID: self._study.attributes["uid"],
                NUMBER: str(trial.number),
            }
            made = self._server.ask("runs/create", experiment_id=self._experiment, start_time=begun, tags=_pairs(tags))
            self._runs[trial.number], self._sent[trial.number] = made["run"]["info"]["run_id"], 0
        run = self._runs[trial.number]
        left = [epoch for epoch in epochs if epoch["epoch"] > self._sent[trial.number]]
        before = sum(epoch["seconds"] for epoch in epochs[: len(epochs) - len(left)])
        for batch in _batches(left, begun + int(1000 * before)):
            self._server.ask("runs/log-batch", run_id=run, metrics=batch)
        if left:
            self._sent[trial.number] = left[-1]["epoch"]
        if trial.state in STATUS:
            params = {**trial.params, "seed": (trial.user_attrs.get("config") or {}).get("seed")}
            told = {name: str(value)[:500] for name, value in params.items() if value is not None}
            for start in range(0, len(told), MOST_PARAMS):
                part = dict(list(told.items())[start : start + MOST_PARAMS])
                self._server.ask("runs/log-batch", run_id=run, params=_pairs(part))
            self._finish(run, trial)
            self._ended.add(trial.number)

    def _finish(self, run: str, trial: FrozenTrial) -> None:
        tags = {"alexsearch.reason": failure_of(trial.user_attrs), "alexsearch.value": trial.value}
        told = {name: str(value)[:5000] for name, value in tags.items() if value not in (None, "")}
        if told:
            self._server.ask("runs/log-batch", run_id=run, tags=_pairs(told))
        end = _milliseconds(trial.datetime_complete)
        self._server.ask("runs/update", run_id=run, status=STATUS[trial.state], end_time=end)


def _batches(epochs: Sequence[Mapping[str, Any]], begun: int) -> Iterator[list[dict[str, Any]]]:
    """The metrics of epochs, in as many as one request may have. `begun` is when the first one was, in milliseconds."""
    at = float(begun)
    metrics: list[dict[str, Any]] = []
    for epoch in epochs:
        at += 1000 * epoch["seconds"]
        about = {"timestamp": int(at), "step": epoch["epoch"]}
        new = [{"key": name, "value": value, **about} for name, value in epoch.items() if name != "epoch"]
        if metrics and len(metrics) + len(new) > MOST_METRICS:
            yield metrics
            metrics = []
        metrics += new
    if metrics:
        yield metrics


def _pairs(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items()]


def _milliseconds(local: datetime.datetime | None) -> int:
    return int((local or datetime.datetime.now()).timestamp() * 1000)
