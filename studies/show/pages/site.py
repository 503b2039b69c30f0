"""Which address shows which page.

    GET  /                                   the list of studies
    GET  /studies/ID                         a study as it stands: slots, best, charts, a table of its trials
    GET  /studies/ID/trials/N                one trial
    GET  /studies/ID/trials/N/recipe         its recipe, as a file to keep
    GET  /studies/ID/compare?trial=3&trial=5 up to eight trials on one chart
    GET  /studies/ID/best                    the best configuration
    POST /studies/ID/stop, /studies/ID/continue
    GET  /pages/FILE                         style and script, kept by browsers until they change

Everything else is optuna-dashboard's. Whether a POST arrives here at all, and from whose page, `show.guard` decides.
"""

from __future__ import annotations

import datetime
import functools
import hashlib
import mimetypes
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studies.queue.queue import Queue
from studies.record.catalog import StudyError
from studies.show.pages import details, overview
from studies.show.pages.gpus import Gpus
from studies.show.pages.reader import Reader
from studies.show.templates import render
from studies.store.cache import AllTrials
from studies.store.errors import StorageError
from studies.store.storage import Storage

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

RecipeText = Callable[[str, int, str], str]
"""Study name, trial number and file name to the text of its recipe. Raises StudyError if there is none."""

STATIC = Path(__file__).parent / "static"
# Scripts, styles and answers from here only; nothing inline, no frames, no plugins.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
A_YEAR = 365 * 24 * 3600
MOST_KEPT = 32
"""Pages, of which an answer is kept for a moment"""


def with_pages(dashboard: WSGIApplication, pages: WSGIApplication) -> WSGIApplication:
    """Our pages where an address is ours, optuna-dashboard otherwise."""

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = str(environ.get("PATH_INFO", ""))
        ours = path in ("", "/", "/studies") or path.startswith(("/studies/", "/pages/"))
        return (pages if ours else dashboard)(environ, start_response)

    return application


def build_pages(
    storage: Storage,
    cached: AllTrials,
    *,
    allow_edits: bool,
    asks_password: bool = False,
    recipe: RecipeText | None = None,
    now: Callable[[], datetime.datetime] = datetime.datetime.now,
    kept_seconds: float = 0.0,
) -> WSGIApplication:
    """The pages as a WSGI application. `recipe` writes what Export gives; without it there is no Export.

    A page that was made is the answer to all who ask for it within `kept_seconds`.
    """
    import bottle

    site = _Site(storage, cached, allow_edits, asks_password, recipe, now, _Kept(kept_seconds))
    app = bottle.Bottle()
    app.router.add_filter("row", lambda _: ("[0-9]{1,9}", int, None))  # a database takes no larger ones
    for rule, view in (
        ("/", site.kept(site.studies)),
        ("/studies", site.kept(site.studies)),
        ("/studies/<study_id:row>", site.kept(site.study)),
        ("/studies/<study_id:row>/trials/<number:row>", site.kept(site.trial)),
        ("/studies/<study_id:row>/trials/<number:row>/recipe", site.recipe),
        ("/studies/<study_id:row>/compare", site.kept(site.compare)),
        ("/studies/<study_id:row>/best", site.kept(site.best)),
        ("/pages/<name>", site.static),
    ):
        app.get(rule, callback=site.told(view))
    app.post("/studies/<study_id:row>/<what:re:stop|continue>", callback=site.told(site.steer))
    for status in (404, 405, 500):
        app.error(status, callback=site.wrong)
    return app  # type: ignore[no-any-return]


@dataclass
class _Entry:
    lock: threading.Lock = field(default_factory=threading.Lock)
    until: float = 0.0
    answer: Any = None


class _Kept:
    """The pages of the last moment: what fifty people look at is made once, and not by each of the server's threads."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}

    def answer(self, asked: str, make: Callable[[], Any]) -> Any:
        """What `make` gave for this address a moment ago, or gives now. What it raises is kept by nobody."""
        with self._lock:
            entry = self._entries.setdefault(asked, _Entry())
            if len(self._entries) > MOST_KEPT:
                del self._entries[next(iter(self._entries))]
        with entry.lock:
            if time.monotonic() >= entry.until:
                entry.answer = make()
                entry.until = time.monotonic() + self._seconds
            return entry.answer

    def forget(self) -> None:
        """Make all of them anew: somebody has changed what they show."""
        with self._lock:
            self._entries.clear()


class _Site:
    """What answers at each address. Its methods return Bottle's responses."""

    def __init__(
        self,
        storage: Storage,
        cached: AllTrials,
        allow_edits: bool,
        asks_password: bool,
        recipe: RecipeText | None,
        now: Callable[[], datetime.datetime],
        kept: _Kept,
    ) -> None:
        import bottle

        self._bottle: Any = bottle
        self._reader, self._gpus = Reader(storage, cached), Gpus()
        self._recipe, self._now, self._kept = recipe, now, kept
        self._given = {
            "address": _address,
            "allow_edits": allow_edits,
            "asks_password": asks_password,
            "can_export": recipe is not None,
        }

    def told(self, view: Callable[..., Any]) -> Callable[..., Any]:
        """The view, with what it can't show said on a page."""

        @functools.wraps(view)
        def shown(**arguments: Any) -> Any:
            try:
                return view(**arguments)
            except StudyError as error:
                return self._page("message.html", 404, title="Not found", text=str(error))
            except StorageError as error:
                return self._page("message.html", 503, title="The database does not answer", text=str(error), refresh=5)

        return shown

    def kept(self, view: Callable[..., Any]) -> Callable[..., Any]:
        """The view, made once for all who ask within a moment."""

        @functools.wraps(view)
        def answered(**arguments: Any) -> Any:
            environ = self._bottle.request.environ
            asked = f"{environ['PATH_INFO']}?{environ.get('QUERY_STRING', '')}"
            page = self._kept.answer(asked, lambda: view(**arguments))
            return self._bottle.HTTPResponse(page.body, status=page.status, headers=dict(page.headers))

        return answered

    def wrong(self, error: Any) -> str:
        """A page for what no view answered."""
        self._bottle.response.set_header("Content-Security-Policy", POLICY)
        text = "There is no page at this address."
        if error.status_code == 500:  # Bottle has printed the traceback
            text = "A defect of ours: the terminal of the server says more. Other pages still work."
        return render("message.html", **self._given, title=error.status_line, text=text)

    def studies(self) -> Any:
        return self._page("studies.html", **overview.list_of_studies(self._reader), storage=self._reader.storage.name)

    def study(self, study_id: int) -> Any:
        query = dict(self._bottle.request.query.decode())
        found = overview.study_page(self._reader, self._reader.study(study_id), query, self._now())
        return self._page("study.html", **found, gpus=self._gpus.look())

    def trial(self, study_id: int, number: int) -> Any:
        found = details.trial_page(self._reader, self._reader.study(study_id), number, self._now())
        return self._page("trial.html", **found)

    def compare(self, study_id: int) -> Any:
        query = self._bottle.request.query.decode()
        given = ",".join(query.getall("trial")).split(",")
        numbers = [int(text) for text in given if text.isascii() and text.isdecimal() and len(text) < 9]
        found = details.compare_page(self._reader, self._reader.study(study_id), numbers, query.metric)
        return self._page("compare.html", **found)

    def best(self, study_id: int) -> Any:
        return self._page("best.html", **details.best_page(self._reader, self._reader.study(study_id)))

    def recipe(self, study_id: int, number: int) -> Any:
        if self._recipe is None:
            raise StudyError("This server makes no recipes. `alexsearch export` does.")
        study = self._reader.study(study_id)
        name = details.recipe_name(study, number)
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return self._answer(self._recipe(study.name, number, name), "application/toml; charset=utf-8", headers)

    def steer(self, study_id: int, what: str) -> Any:
        study = self._reader.study(study_id)
        if not study.is_ours:
            raise StudyError(f"Study {study.shown} {study.not_ours}, so none of our workers is at it.")
        queue = Queue(self._reader.storage, study_id)
        if what == "stop":
            queue.request_stop(now=self._bottle.request.forms.get("now") == "yes")
        else:
            queue.begin()
        self._kept.forget()
        return self._bottle.HTTPResponse(status=303, headers={"Location": f"/studies/{study_id}"})

    def static(self, name: str) -> Any:
        if name not in _static_files():
            return self._page("message.html", 404, title="Not found", text="There is no such file.")
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        return self._answer(_static_files()[name], kind, {"Cache-Control": f"private, max-age={A_YEAR}, immutable"})

    def _page(self, template: str, status: int = 200, **values: Any) -> Any:
        text = render(template, **self._given, **values)
        return self._answer(text, "text/html; charset=utf-8", {"Content-Security-Policy": POLICY}, status)

    def _answer(self, body: str | bytes, kind: str, headers: dict[str, str], status: int = 200) -> Any:
        return self._bottle.HTTPResponse(body, status=status, headers={"Content-Type": kind, **headers})


@functools.cache
def _static_files() -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in STATIC.iterdir() if file.is_file()}


def _address(name: str) -> str:
    """A file's address, which changes with what is in it."""
    return f"/pages/{name}?v={hashlib.sha256(_static_files()[name]).hexdigest()[:12]}"


def login_page(text: str, onwards: str, logged_in: bool) -> str:
    """The login page: what went wrong, or "", and the path to go on to."""
    return render("login.html", address=_address, text=text, onwards=onwards, logged_in=logged_in)
