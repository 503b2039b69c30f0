"""The first training process of a run: it reads the data, and tells whether TensorFlow can use the place."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

from search.base.mistakes import InputError
from search.run.matching import existing_study
from search.run.request import RunError, RunRequest, View
from search.space.fitting import over
from search.space.own import Program
from search.training.child import Process, RefusedError, StartError
from search.training.messages import Ready
from search.training.places import Place, places_without_gpus, unusable


@dataclass(frozen=True)
class Prepared:
    """A child that has read the data, and what follows from it."""

    request: RunRequest
    """With the space that is searched after all: where CIFAR-10 can't be downloaded, that over the digits."""
    places: tuple[Place, ...]
    child: Process
    ready: Ready
    notes: tuple[str, ...] = ()
    """To be said again at the end."""


def prepare(request: RunRequest, places: tuple[Place, ...], view: View, stopping: threading.Event) -> Prepared | None:
    """Start the first child and have it read the data; None if `stopping` was set meanwhile.

    Raises:
        InputError: the data can't be used, or the study asks something else.
        RunError: the child can't work here.
    """
    space, place = request.space, places[0]
    for text in request.notes:
        view.note(text)
    own = request.own
    if isinstance(own, Program):
        view.note(f"starting {own.called} on {place.device}")
    else:
        view.note(f"starting TensorFlow on {place.device}, reading {space.data.source}")
    log = request.home.log(space.study.name, place.name)
    child = request.start(place, space.data, request.home.data, log, own=own)
    try:
        ready = child.wait_ready(stopping)
        unused = place.on_gpu and ready is not None and ready.device.kind == "cpu" and not isinstance(own, Program)
        if ready is not None and not unused:
            for found in ready.notes:
                view.note(found)
            return Prepared(request, places, child, ready)
        child.kill()
        if ready is None:
            return None
        note, places = unusable(place.device), places_without_gpus(request.workers)
    except RefusedError as refusal:
        child.kill()
        if not (refusal.download and request.digits_without_download):
            raise InputError(str(refusal)) from None
        note = (
            "CIFAR-10 could not be downloaded: these are scikit-learn's handwritten digits instead, in a study of "
            "their own. With the real images, run again with --data FILE.npz or an image folder."
        )
        space = over(space, "digits").with_overrides(name=f"{space.study.name}-digits")
        request = replace(request, space=space, digits_without_download=False)
        existing_study(request)
    except StartError as error:
        child.kill()
        raise RunError(f"{error}. `alexsearch doctor` says what is wrong.") from None
    except BaseException:
        child.kill()
        raise
    view.note(note)
    again = prepare(replace(request, notes=()), places, view, stopping)
    return again and replace(again, notes=(note, *again.notes))
