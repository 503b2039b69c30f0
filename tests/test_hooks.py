"""Hooks: what a real command and a real server are told, and that neither can hold up or break a run."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
from null_child import Played, fails
from study_maker import SPACE, make_study
from test_host import Blind

from search.base.home import Home
from search.base.mistakes import InputError
from search.run.events import Begun, Completed, Event, FailedForGood
from search.run.hooks import HookError, Hooks, deliver
from search.run.host import run_search
from search.run.request import RunRequest
from search.screen.reporting import space_toml
from search.space.files import load_space
from search.space.fitting import over
from search.space.hooks import HooksSpec
from search.space.space import SearchSpace
from search.training.places import Place
from studies.queue.queue import Queue
from studies.record.catalog import find_study
from studies.store.opening import open_storage

EVENT = {"event": "best", "trial": 3, "value": 0.5}


@dataclass
class Server:
    """A web server on this machine that takes what is posted."""

    url: str = ""
    code: int = 200
    taken: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    waits: threading.Event = field(default_factory=threading.Event)
    waiting: bool = False


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.taken.append((self.path, json.loads(body)))
            if found.waiting:
                found.waits.wait(60)
            self.send_response(found.code)
            if found.code == 302:
                self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    http = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    found.url = f"http://127.0.0.1:{http.server_port}/hooks/secret-token"
    yield found
    found.waits.set()
    http.shutdown()
    http.server_close()


def python(text: str, *arguments: object) -> tuple[str, ...]:
    return (sys.executable, "-c", text, *map(str, arguments))


KEEPS = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read())"


def test_command_gets_the_event_on_its_standard_input_and_no_shell_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "$(touch owned); told"
    deliver(python(KEEPS, file), EVENT)
    assert json.loads(file.read_text()) == EVENT
    assert [each.name for each in tmp_path.iterdir()] == [file.name]


def test_address_gets_the_event_posted(server: Server) -> None:
    deliver((server.url,), EVENT)
    assert server.taken == [("/hooks/secret-token", EVENT)]


@pytest.mark.parametrize(
    ("hook", "told"),
    [
        (python("import sys; sys.exit('no room')"), "ended with code 1: no room"),
        (("/nowhere/to/be/found",), "/nowhere/to/be/found can't be started (No such file or directory)"),
        (("nul\0",), "can't be started"),
        (("http://127.0.0.1:9/secret",), "http://127.0.0.1: [Errno 111] Connection refused"),
        (("http://[::bad/secret",), "its address: "),
    ],
)
def test_hook_that_fails_says_how_and_no_secret(hook: tuple[str, ...], told: str) -> None:
    with pytest.raises(HookError) as caught:
        deliver(hook, EVENT)
    assert told in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("code", [302, 404, 500])
def test_address_that_refuses_or_sends_elsewhere_is_told(server: Server, code: int) -> None:
    server.code = code
    with pytest.raises(HookError, match=f"answered {code}"):
        deliver((server.url,), EVENT)
    assert [path for path, _ in server.taken] == ["/hooks/secret-token"]


def test_hook_that_hangs_is_given_up_with_all_it_started(server: Server, tmp_path: Path) -> None:
    server.waiting = True
    with pytest.raises(HookError, match=r"no answer within 0\.2 s"):
        deliver((server.url,), EVENT, seconds=0.2)
    started = tmp_path / "pid"
    hangs = ("sh", "-c", 'sleep 60 & echo $! > "$0"; wait', str(started))
    with pytest.raises(HookError, match="sh took longer than 1 s, and was ended"):
        deliver(hangs, EVENT, seconds=1)
    until = time.monotonic() + 30
    with contextlib.suppress(psutil.NoSuchProcess):
        while psutil.Process(int(started.read_text())).status() != psutil.STATUS_ZOMBIE:  # until init looks
            assert time.monotonic() < until


def events(trial: int, value: float) -> list[Event]:
    config = SearchSpace.from_dict(SPACE).config({"learning_rate": 0.01}, 0)
    place = Place(0, "cpu")
    return [Event(place, trial, Begun(config)), Event(place, trial, Completed(value, 2.0))]


def hooks_of(tmp_path: Path, spec: HooksSpec, *values: float) -> Hooks:
    storage = open_storage(f"sqlite:///{tmp_path / 'study.db'}")
    make_study(storage, *values)
    return Hooks(spec, storage, find_study(storage, None), seconds=5)


def test_best_is_told_of_a_trial_that_is_the_best_of_the_study_and_of_no_other(tmp_path: Path, server: Server) -> None:
    hooks = hooks_of(tmp_path, HooksSpec(best=(server.url,)), 0.4, 0.6, 0.5)
    for event in (*events(0, 0.4), *events(1, 0.6), *events(2, 0.5)):
        hooks.event(event)
    hooks.event(Event(Place(0, "cpu"), 2, FailedForGood("diverged: ...")))
    hooks.close()
    ((_, told),) = server.taken
    assert (told["event"], told["study"], told["trial"], told["value"]) == ("best", "small", 1, 0.6)
    assert told["config"]["learning_rate"] == 0.01


def test_failure_of_a_hook_is_told_once_and_the_others_go_on(tmp_path: Path, server: Server) -> None:
    spec = HooksSpec(best=("/nowhere",), failed=(server.url,))
    hooks = hooks_of(tmp_path, spec, 0.6)
    for _ in range(3):
        for event in (*events(0, 0.6), Event(Place(0, "cpu"), 1, FailedForGood("diverged: ..."))):
            hooks.event(event)
    hooks.close()
    assert "the hook best failed" in hooks.remarks.get_nowait()
    assert hooks.remarks.empty()
    assert [told["reason"] for _, told in server.taken] == ["diverged: ..."] * 3


def test_events_beyond_those_that_may_wait_are_dropped_and_nobody_waits(tmp_path: Path, server: Server) -> None:
    server.waiting = True
    hooks = hooks_of(tmp_path, HooksSpec(failed=(server.url,)))
    for number in range(300):
        hooks.event(Event(Place(0, "cpu"), number, FailedForGood("x")))
    assert "100 events wait already" in hooks.remarks.get(timeout=5)
    server.waits.set()


HOOKED = """
[study]
name = "small"
trials = 4
[data]
source = "synthetic"
validation_images = 400
[space]
batch_size = 32
learning_rate = {{ low = 0.001, high = 0.1, log = true }}
epochs = 3
{}
"""


def space_with(tmp_path: Path, hooks: str) -> SearchSpace:
    (tmp_path / "my.toml").write_text(HOOKED.format(hooks))
    return load_space(str(tmp_path / "my.toml"))


class Listening(Blind):
    """A view that keeps the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_run_tells_its_best_its_failures_and_its_end(tmp_path: Path, server: Server) -> None:
    address = f'"{server.url}"'
    space = space_with(tmp_path, f"[hooks]\nbest = {address}\nfailed = [{address}]\ndone = {address}")
    storage, view = open_storage(f"sqlite:///{tmp_path / 'study.db'}"), Listening()
    played = Played()
    played.trouble = lambda *_: fails("diverged", "the loss became nan") if len(played.trained) == 2 else None
    request = RunRequest(
        space.with_overrides(trials=3), Home(tmp_path / "home"), storage, start=played.start, workers=1
    )
    outcome = run_search(request, view, threading.Event())
    told = [event for _, event in server.taken]
    assert [event["event"] for event in told].count("failed") == 1
    assert told[0]["event"] == "best"
    assert told[-1]["event"] == "done"
    assert (told[-1]["counts"]["complete"], told[-1]["counts"]["failed"]) == (2, 1)
    assert told[-1]["best"]["value"] == max(event["value"] for event in told if event["event"] == "best")
    assert view.notes[1:] == []
    assert "hooks" not in outcome.study.attributes["space"]


def test_hooks_that_fail_leave_the_run_as_it_is_and_are_told_once(tmp_path: Path) -> None:
    space = space_with(tmp_path, '[hooks]\nbest = ["/nowhere"]\ndone = ["/nowhere", "else"]')
    storage, view = open_storage(f"sqlite:///{tmp_path / 'study.db'}"), Listening()
    request = RunRequest(space, Home(tmp_path / "home"), storage, start=Played().start, workers=1)
    assert run_search(request, view, threading.Event()).counts.complete == 4
    spoken = [note for note in view.notes if "hook" in note]
    assert [note.partition(" failed")[0] for note in spoken] == ["the hook best", "the hook done"]


def test_hooks_come_from_a_file_alone_and_are_no_part_of_the_question(tmp_path: Path) -> None:
    plain, hooked = space_with(tmp_path, ""), space_with(tmp_path, '[hooks]\nbest = ["true"]')
    assert hooked.hooks is not None
    assert hooked.digest() == plain.digest()
    assert hooked.to_dict() == plain.to_dict()
    assert over(hooked.with_overrides(trials=9), "synthetic").with_data(plain.data).hooks == hooked.hooks
    stored = {**plain.to_dict(), "hooks": {"best": ["touch", "owned"]}}  # as somebody else may write it
    assert SearchSpace.from_dict(stored).hooks is None
    assert "owned" not in space_toml(stored)
    storage = open_storage(f"sqlite:///{tmp_path / 'study.db'}")
    study = make_study(storage)
    space = {**study.attributes["space"], "hooks": {"best": ["touch", str(tmp_path / "owned")]}}
    storage.set_study_user_attr(study.study_id, "space", space)
    joined = SearchSpace.from_dict(find_study(storage, None).attributes["space"])
    request = RunRequest(joined, Home(tmp_path / "home"), storage, start=Played(fingerprint="f" * 16).start, joins=True)
    assert run_search(request, Listening(), threading.Event()).counts.complete == 4
    assert not (tmp_path / "owned").exists()
    assert Queue(storage, study.study_id).counts().settled == 4


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('best = "notify-send"', 'best must be a list, as in ["notify-send", "a new best"], or a web address'),
        ("best = []", "best must be a list, as in"),
        ('best = ["https://a.example", "x"]', "best must be one web address, or a command and its arguments"),
        ('bset = ["x"]', "unknown key bset. Did you mean best?"),
    ],
)
def test_hooks_are_checked_as_the_rest_of_the_file(tmp_path: Path, line: str, told: str) -> None:
    with pytest.raises(InputError) as caught:
        space_with(tmp_path, f"[hooks]\n{line}")
    assert "my.toml [hooks" in str(caught.value)
    assert told in str(caught.value)
