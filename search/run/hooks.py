"""Tells other programs what happens to a study: the `[hooks]` of its space file at work.

A thread of the host's own delivers one event after another, so that nothing here holds up training: one that takes
longer than `HOOK_SECONDS` is given up, and of more than `MOST_WAITING` the newest are dropped. The first failure of
each hook is told, and no other.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import os
import queue as queues
import signal
import socket
import subprocess
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any
from urllib.parse import urlsplit

from search.run.events import Begun, Completed, Event, FailedForGood, Pruned
from search.space.hooks import Hook, HooksSpec, is_address
from studies.queue.standing import Counts
from studies.record.catalog import StudyRecord, top_trials
from studies.store.storage import Storage
from studies.words import one_line

HOOK_SECONDS = 10.0
"""So long an event may take to be delivered."""
END_SECONDS = 15.0
"""So long the end of a run waits for those that were not delivered yet."""
MOST_WAITING = 100

log = logging.getLogger(__name__)


class HookError(Exception):
    """An event could not be delivered. The message has no secret: of an address, only its host."""


class Hooks:
    """The hooks of one run. Its methods return at once, but for `close`."""

    def __init__(self, spec: HooksSpec, storage: Storage, study: StudyRecord, seconds: float = HOOK_SECONDS) -> None:
        """`seconds` is how long a delivery may take."""
        self.remarks: queues.SimpleQueue[str] = queues.SimpleQueue()
        """What people should know: how a hook failed for the first time."""
        self._spec, self._storage, self._study, self._seconds = spec, storage, study, seconds
        self._configs: dict[int, dict[str, Any]] = {}
        self._troubled: set[str] = set()
        self._waiting: queues.Queue[tuple[str, dict[str, Any]] | None] = queues.Queue(MOST_WAITING)
        self._thread = threading.Thread(target=self._work, name="hooks", daemon=True)
        self._thread.start()

    def event(self, event: Event) -> None:
        """Take note of what happened to a trial, and tell it if somebody wants to know."""
        what = event.what
        about: dict[str, Any] = {"trial": event.number, "device": event.place.device}
        match what:
            case Begun():
                self._configs[event.number] = what.config.model_dump(mode="json", exclude_none=True)
            case Completed():
                about |= {"value": what.value, "seconds": what.seconds}
                self._put("best", {**about, "config": self._configs.pop(event.number, {})})
            case FailedForGood():
                about |= {"reason": what.reason, "seconds": what.seconds}
                self._put("failed", {**about, "config": self._configs.pop(event.number, {})})
            case Pruned():
                self._configs.pop(event.number, None)

    def done(self, counts: Counts, limit: str | None) -> None:
        """The study is at its end: all trials are settled, or `limit`, in words, is reached."""
        self._put("done", {"counts": asdict(counts), "limit": limit})

    def close(self, seconds: float = END_SECONDS) -> None:
        """Deliver what waits, as far as it can be done in so many seconds."""
        with contextlib.suppress(queues.Full):
            self._waiting.put(None, timeout=seconds)
            self._thread.join(seconds)

    def _put(self, name: str, told: Mapping[str, Any]) -> None:
        if getattr(self._spec, name) is None:
            return
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        event = {"event": name, "study": self._study.name, "host": socket.gethostname(), "time": now, **told}
        try:
            self._waiting.put_nowait((name, event))
        except queues.Full:
            self._remark(name, f"{MOST_WAITING} events wait already: this one is dropped")

    def _work(self) -> None:
        while (waiting := self._waiting.get()) is not None:
            name, event = waiting
            try:
                told = self._completed(name, event)
                if told is not None:
                    deliver(getattr(self._spec, name), told, self._seconds)
            except HookError as error:
                self._remark(name, str(error))
            except Exception as error:  # noqa: BLE001 - a defect here is no reason to tell nothing any more
                self._remark(name, repr(error))

    def _completed(self, name: str, event: dict[str, Any]) -> dict[str, Any] | None:
        """The event with what the database says; None for a trial that is complete but not the best of the study."""
        if name == "failed":
            return event
        top = next(iter(top_trials(self._storage, self._study, 1)), None)
        if name == "best":
            return event if top is not None and top.number == event["trial"] else None
        return {**event, "best": top and {"trial": top.number, "value": top.value, "params": top.params}}

    def _remark(self, name: str, what: str) -> None:
        log.log(logging.DEBUG if name in self._troubled else logging.WARNING, "hook %s: %s", name, what)
        if name not in self._troubled:
            self._troubled.add(name)
            self.remarks.put(f"the hook {name} failed, and will not be spoken of again: {one_line(what)}")


def deliver(hook: Hook, event: Mapping[str, Any], seconds: float = HOOK_SECONDS) -> None:
    """Run the command, with the event as one line of JSON on its standard input, or post it to the address.

    Raises:
        HookError: it took longer than `seconds`, ended with another code than 0, or can't be reached.
    """
    body = (json.dumps(event) + "\n").encode()
    if is_address(hook):
        _post(hook[0], body, seconds)
    else:
        _run(hook, body, seconds)


def _run(command: Hook, body: bytes, seconds: float) -> None:
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said:  # no pipe that somebody must empty
        given.write(body)
        given.seek(0)
        try:
            process = subprocess.Popen(
                command, stdin=given, stdout=subprocess.DEVNULL, stderr=said, start_new_session=True
            )
        except (OSError, ValueError) as error:
            raise HookError(f"{command[0]} can't be started ({getattr(error, 'strerror', None) or error})") from None
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)  # with whatever it has started
            process.wait()
            raise HookError(f"{command[0]} took longer than {seconds:g} s, and was ended") from None
        if code:
            said.seek(0)
            words = said.read(10_000).decode(errors="replace").strip().splitlines()
            raise HookError(f"{command[0]} ended with code {code}" + (f": {words[-1][:300]}" if words else ""))


class _Unredirected(urllib.request.HTTPRedirectHandler):
    """An address that sends elsewhere is told: what is posted goes where the file says, and nowhere else."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _post(address: str, body: bytes, seconds: float) -> None:
    # In a thread of its own: the timeout of a socket is one for each of its steps, and a server may take many.
    answers: queues.SimpleQueue[str] = queues.SimpleQueue()
    threading.Thread(target=lambda: answers.put(_answer(address, body, seconds)), daemon=True).start()
    try:
        trouble = answers.get(timeout=seconds)
    except queues.Empty:
        trouble = f"no answer within {seconds:g} s"
    if trouble:
        raise HookError(f"{_host(address)}: {trouble}")


def _answer(address: str, body: bytes, seconds: float) -> str:
    """What went wrong; empty if it was taken."""
    headers = {"Content-Type": "application/json", "User-Agent": "alexsearch"}
    opener = urllib.request.build_opener(_Unredirected)
    try:
        request = urllib.request.Request(address, body, headers, method="POST")  # noqa: S310 - http or https only
        with opener.open(request, timeout=seconds):
            return ""
    except urllib.error.HTTPError as error:
        with error:
            return f"answered {error.code}"
    except TimeoutError:
        return f"no answer within {seconds:g} s"
    except urllib.error.URLError as error:
        return f"no answer within {seconds:g} s" if isinstance(error.reason, TimeoutError) else str(error.reason)
    except Exception as error:  # noqa: BLE001 - an answer that is none, an address that is none
        return type(error).__name__


def _host(address: str) -> str:
    """An address as it may be told: what lies behind the host is often a secret."""
    with contextlib.suppress(ValueError):
        parts = urlsplit(address)
        return f"{parts.scheme}://{parts.hostname}"
    return "its address"
