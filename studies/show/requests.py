"""What optuna-dashboard would answer by a 500 for what was asked is answered by 400, 404 or 409 in its place.

It turns whatever stands in an address or a body into numbers and names, and looks up what may not be there. Here that
is checked first: ids, parameters and bodies of all its addresses. What is left of its 500s are defects, or a database
that is away.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import io
import json
import logging
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import parse_qs, quote

import sqlalchemy as sa

from studies.queue.queue import remove_orphans
from studies.record.catalog import StudyError, rename_study
from studies.show.guard import READING
from studies.store.errors import StorageError
from studies.store.storage import Storage
from studies.store.tables import TRIALS

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from optuna.artifacts._protocol import ArtifactStore

log = logging.getLogger(__name__)

LARGEST_ID = 2**31 - 1
"""Of a row, in Postgres."""
LONGEST_NAME = 512
"""Of studies and attributes, in the database's columns."""

# What the ids in an address are of: s a study, t a trial, a an artifact.
_STUDY, _TRIAL, _ARTIFACT = r"(?P<s>-?\d+)", r"(?P<t>-?\d+)", r"(?P<a>[0-9a-fA-F-]+)"
_ROUTES = (
    ("GET HEAD", rf"/artifacts/{_STUDY}/{_ARTIFACT}"),
    ("GET HEAD", rf"/artifacts/{_STUDY}/{_TRIAL}/{_ARTIFACT}"),
    ("DELETE", rf"/api/artifacts/{_STUDY}/{_ARTIFACT}"),
    ("DELETE", rf"/api/artifacts/{_STUDY}/{_TRIAL}/{_ARTIFACT}"),
    ("POST", rf"/api/artifacts/{_STUDY}(/{_TRIAL})?"),
    ("PUT POST", rf"/api/studies/{_STUDY}/{_TRIAL}/\w+"),
    ("GET HEAD PUT POST DELETE", rf"/(csv|api/studies)/{_STUDY}(/.*)?"),
    ("POST", rf"/api/trials/{_TRIAL}/[\w-]+"),
)
# These write to the trial itself, which a finished one forbids.
_TO_TRIALS = r"/api/trials/.*|/api/artifacts/-?\d+/-?\d+(/.*)?"


class RefusedError(Exception):
    """A request that can't be answered. The message says why."""

    def __init__(self, status: str, why: str) -> None:
        super().__init__(why)
        self.status = status


def checked(app: WSGIApplication, storage: Storage) -> WSGIApplication:
    """optuna-dashboard's application `app` over `storage`, asked only for what it can answer."""

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ.setdefault("HTTP_ACCEPT_ENCODING", "")
        try:
            with _odd_told():
                _check(environ, storage)
            answer = _renamed(environ, storage)
            if answer is None:
                return _answered(app, environ, _tidying(environ, storage, start_response))
            status = "201 Created"
        except RefusedError as refused:
            status, answer = refused.status, {"reason": str(refused)}
        except StorageError as error:
            status, answer = "503 Service Unavailable", {"reason": str(error)}
        body = json.dumps(answer).encode()
        start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    return application


def _answered(app: WSGIApplication, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """What `app` answers. Raises RefusedError where it can't, or StorageError where the database was away.

    Its last 500s are of rows that Optuna would not have written: a direction too many, a picture that is a number.
    """
    started: list[Any] = []

    def start(*given: Any) -> Callable[[bytes], object]:
        started.append(given)
        return lambda _: None

    environ["wsgi.errors"] = said = io.StringIO()
    try:
        body = app(environ, start)
    except (LookupError, TypeError, ValueError) as error:  # in what the server is given, Bottle catches the rest
        raise RefusedError(*_ODD) from error
    if not started or not str(started[0][0]).startswith("500"):
        start_response(*started[0])
        return body
    text = said.getvalue().strip()
    log.warning("%s %s: %s", environ["REQUEST_METHOD"], quote(environ["PATH_INFO"]), text.rpartition("\n")[2][:500])
    if re.search(r"^\S*(StorageError|StorageInternalError|OperationalError)\b", text, re.MULTILINE):
        raise RefusedError("503 Service Unavailable", "The database does not answer.")
    raise RefusedError(*_ODD)


_ODD = (
    "409 Conflict",
    "What is stored of this study is not as Optuna writes it, so it can't be shown here. Our own pages show the rest.",
)


@contextlib.contextmanager
def _odd_told() -> Iterator[None]:
    """A row that can't be read is told as that."""
    try:
        yield
    except (LookupError, TypeError) as error:
        raise RefusedError(*_ODD) from error


def _renamed(environ: WSGIEnvironment, storage: Storage) -> dict[str, Any] | None:
    """The answer where a study is to have another name; None where something else is asked.

    optuna-dashboard would copy the study under the new name and delete the old one: its trials would be other rows,
    of which our tables and the workers that are at it know nothing.
    """
    from optuna_dashboard._serializer import serialize_frozen_study

    found = re.fullmatch(r"/api/studies/(\d+)/rename/?", environ["PATH_INFO"])
    if environ["REQUEST_METHOD"] != "POST" or not found:
        return None
    study_id = _row_id(found[1])
    document = _document(environ["wsgi.input"].getvalue())
    try:
        rename_study(storage, study_id, str(document["study_name"]))
        study = next(each for each in storage.get_all_studies() if each._study_id == study_id)
    except StudyError as error:
        raise RefusedError("400 Bad Request", str(error)) from None
    except (KeyError, StopIteration):
        raise RefusedError("404 Not Found", f"study_id={study_id} is not found") from None
    answer: dict[str, Any] = serialize_frozen_study(study)
    return answer


def _tidying(environ: WSGIEnvironment, storage: Storage, start_response: StartResponse) -> StartResponse:
    """`start_response`, which where a study was deleted first removes what our tables keep of it."""
    if environ["REQUEST_METHOD"] != "DELETE" or not re.fullmatch(r"/api/studies/\d+/?", environ["PATH_INFO"]):
        return start_response

    def started(status: str, *given: Any) -> Any:
        if status.startswith("204"):
            with contextlib.suppress(StorageError):  # the next run tidies up too
                storage.transaction(remove_orphans)
        return start_response(status, *given)

    return started


class CheckedArtifacts:
    """An artifact store whose missing files are told by 404."""

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store
        self.write, self.remove = store.write, store.remove

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """Raises Bottle's HTTPError where there is no such file."""
        import bottle
        from optuna.artifacts.exceptions import ArtifactNotFound

        try:
            return self._store.open_reader(artifact_id)
        except ArtifactNotFound:
            raise bottle.HTTPError(404, "The artifact's file is not there any more.") from None


def _check(environ: WSGIEnvironment, storage: Storage) -> None:
    path = environ["PATH_INFO"].encode("latin-1").decode(errors="replace").rstrip("/")
    method = environ["REQUEST_METHOD"]
    for methods, pattern in _ROUTES:
        found = re.fullmatch(pattern, path) if method in methods.split() else None
        if found:
            _check_rows(storage, method, path, found.groupdict())
            break
    if method not in READING:
        _check_body(environ, storage, method, path)
    asked = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    if not all(re.fullmatch("-?[0-9]{1,9}", after) for after in asked.get("after", ())):
        raise RefusedError("400 Bad Request", "`after` is a number of trials.")


def _check_rows(storage: Storage, method: str, path: str, ids: Mapping[str, str | None]) -> None:
    """That the study, trial and artifact of an address are there, and what its answer needs of them."""
    study, trial = (_row_id(text) if (text := ids.get(key)) else None for key in ("s", "t"))
    try:
        name = storage.get_study_name_from_id(study) if study is not None else ""
        owner, finished = _trial(storage, trial) if trial is not None else (study, False)
    except KeyError:
        raise RefusedError("404 Not Found", "There is no such study or trial.") from None
    if study is not None and owner != study:
        raise RefusedError("404 Not Found", "The study has no such trial.")
    artifact = ids.get("a")
    if study is not None and artifact and not _is_whole(_artifact(storage, study, trial, artifact)):
        raise RefusedError("404 Not Found", "There is no such artifact.")
    if finished and method not in READING and re.fullmatch(_TO_TRIALS, path):
        raise RefusedError("409 Conflict", "The trial is finished: it does not change any more.")
    if path.startswith("/csv/") and set(name) & set("\r\n\0"):
        raise RefusedError("400 Bad Request", "The study's name has several lines, which no file's name can have.")
    if path.endswith("/plot/pareto_front") and len(storage.get_study_directions(study or 0)) not in (2, 3):
        raise RefusedError("400 Bad Request", "A Pareto front is of two or three objectives.")


def _row_id(text: str) -> int:
    if len(text) > 10 or not 0 < int(text) <= LARGEST_ID:
        raise RefusedError("404 Not Found", "There is no such study or trial.")
    return int(text)


def _trial(storage: Storage, trial_id: int) -> tuple[int, bool]:
    """Whose it is, and whether it is finished. Raises KeyError."""
    query = sa.select(TRIALS.c.study_id, TRIALS.c.state).where(TRIALS.c.trial_id == trial_id)
    row = storage.read(lambda session: session.execute(query).first())
    if row is None:
        raise KeyError(trial_id)
    return row[0], row[1].is_finished()


def _artifact(storage: Storage, study: int, trial: int | None, artifact: str) -> object:
    from optuna_dashboard.artifact import _backend

    try:
        if trial is None:
            return _backend.get_study_artifact_meta(storage, study, artifact)
        return _backend.get_trial_artifact_meta(storage, study, trial, artifact)
    except (ValueError, TypeError):  # of a row that somebody else wrote
        return None


def _is_whole(meta: object) -> bool:
    if not isinstance(meta, dict):
        return False
    kind, encoding = meta.get("mimetype"), meta.get("encoding")
    return isinstance(kind, str) and kind.isprintable() and (encoding is None or str(encoding).isprintable())


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_NAME and value.isprintable()


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST_ID


def _are(each: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and all(each(item) for item in value)


def _are_attributes(value: object) -> bool:
    return isinstance(value, dict) and bool(value) and all(_is_name(key) for key in value)


def _is_file(value: object) -> bool:
    if not isinstance(value, str) or not re.match("data:[^,]*,", value):
        return False
    try:
        base64.standard_b64decode(value.partition(",")[2])
    except (binascii.Error, ValueError):
        return False
    return True


_FIELDS: tuple[tuple[str, str, Mapping[str, Callable[[object], bool]]], ...] = (
    ("POST", r"/api/studies", {"study_name": _is_name, "directions": _are(_is_text)}),
    ("POST", r"/api/studies/\d+/rename", {"study_name": _is_name}),
    ("PUT", r"/api/studies/\d+(/\d+)?/note", {"version": _is_number, "body": _is_text}),
    ("POST", r"/api/studies/\d+/preference", {"candidates": _are(_is_number), "clicked": _is_number}),
    ("PUT", r"/api/studies/\d+/preference_feedback_component", {"output_type": _is_text}),
    ("POST", r"/api/trials/\d+/tell", {"state": _is_text}),
    ("POST", r"/api/trials/\d+/user-attrs", {"user_attrs": _are_attributes}),
    ("POST", r"/api/artifacts/\d+(/\d+)?", {"file": _is_file, "filename": _is_text}),
)
"""What optuna-dashboard reads of a body."""


def _check_body(environ: WSGIEnvironment, storage: Storage, method: str, path: str) -> None:
    length = environ.get("CONTENT_LENGTH") or "0"
    sent = environ["wsgi.input"].read(int(length)) if length.isdecimal() else b""
    environ["wsgi.input"] = io.BytesIO(sent)
    document: dict[str, object] = {}
    if sent and environ.get("CONTENT_TYPE", "").lower().partition(";")[0].strip() == "application/json":
        document = _document(sent)
    for of_method, pattern, fields in _FIELDS:
        if method == of_method and re.fullmatch(pattern, path):
            wrong = [name for name, is_right in fields.items() if not is_right(document.get(name))]
            if wrong:
                raise RefusedError("400 Bad Request", f"A JSON body lacks, or has wrongly: {', '.join(wrong)}.")
    if path.endswith("/tell") and str(document.get("state")).upper() == "COMPLETE":
        _check_values(storage, _row_id(path.split("/")[3]), document.get("values"))


def _document(sent: bytes) -> dict[str, object]:
    try:
        document = json.loads(sent)
        json.dumps(document, ensure_ascii=False).encode()  # half a character, as an escape, is no text of a database's
    except (ValueError, RecursionError) as error:
        raise RefusedError("400 Bad Request", f"The body is no JSON that can be stored: {error}.") from None
    if not isinstance(document, dict):
        raise RefusedError("400 Bad Request", "The body is no JSON object.")
    return document


def _check_values(storage: Storage, trial: int, values: object) -> None:
    study, _ = _trial(storage, trial)
    wanted = len(storage.get_study_directions(study))
    numbers: list[Any] = values if isinstance(values, list) else []
    are_right = all(isinstance(value, (int, float)) and not math.isnan(value) for value in numbers)
    if len(numbers) != wanted or not are_right:
        raise RefusedError("400 Bad Request", f"A complete trial of this study has {wanted} numbers as its values.")
