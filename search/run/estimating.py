"""What a search would take, estimated from a few seconds of training, with nothing written.

A training process trains what lies in the middle of the space, without checkpoints, until it has shown its pace. From
the seconds of an epoch, the mean number of epochs over the space and the number of trials follows what all of them
would take. What a pruner would save is not known beforehand, so it is not counted.
"""

from __future__ import annotations

import math
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna

from model.device import available_cores
from search.base.home import Home
from search.choosing.designs import most_trials
from search.run.matching import existing_study
from search.run.preparing import prepare
from search.run.request import RunError, RunRequest, View
from search.space.parameters import Choices, Range, encode, is_whole
from search.space.pruners import NoPruningSpec
from search.space.space import SearchSpace
from search.training.child import ChildError, Process
from search.training.messages import Epoch, Failed, Finished, Progress, Ready, Train, Verdict
from search.training.places import Place, chosen_gpus, plan_places, visible_gpus
from studies.queue.queue import Queue
from studies.queue.standing import Counts
from studies.record.catalog import described
from studies.store.opening import open_storage
from studies.store.storage import Storage
from studies.words import duration, images, is_searched, number, parameter, settings

MEASURED_SECONDS = 10.0
"""So long it is trained, from the first sign of life on, if that shows the pace."""
PATIENCE_SECONDS = 180.0
"""No longer is waited for that; a program may have to be compiled first."""
DRAWS = 500
"""Trials that are drawn to learn how many epochs they have on average."""


@dataclass(frozen=True)
class Pace:
    """How fast one training goes."""

    epoch_seconds: float
    images_per_second: float = 0.0
    """0 if it is not known."""


@dataclass(frozen=True)
class Estimate:
    """What a search would be, and would take."""

    space: SearchSpace
    ready: Ready
    places: tuple[Place, ...]
    existing: Counts | None
    """Of the study, if it is there already."""
    trials: int
    """Still to be trained."""
    tried: Mapping[str, Any]
    """The params that were measured."""
    pace: Pace | None
    """None if an epoch takes longer than anybody waits for here."""
    mean_epochs: float

    @property
    def device_seconds(self) -> float | None:
        return self.trials * self.mean_epochs * self.pace.epoch_seconds if self.pace else None


@contextmanager
def nothing_written(home: Home, storage: Storage | None) -> Iterator[tuple[Home, Storage]]:
    """A home and a database that are gone at the end: `storage` itself if it is there, which is only read.

    Images that the home has decoded are used; those decoded now go where they are, if that folder is there.
    """
    with tempfile.TemporaryDirectory(prefix="alexsearch-dry-") as folder:
        passing = Home(Path(folder))
        if home.data.is_dir():
            passing.data.symlink_to(home.data.absolute())
        yield passing, storage or open_storage(f"sqlite:///{folder}/nothing.db")


def estimate(
    request: RunRequest, view: View, stopping: threading.Event, clock: Callable[[], float] = time.monotonic
) -> Estimate | None:
    """What `run_search` would do with the request; None if `stopping` was set meanwhile.

    `request` has what `nothing_written` gave.

    Raises:
        InputError: a setting or the data is wrong, as a run would say.
        RunError: nothing can be trained here.
    """
    existing_study(request)
    places = plan_places(
        request.workers, chosen_gpus(visible_gpus(), request.gpus), available_cores(), request.trials_per_gpu
    )
    prepared = prepare(request, places, view, stopping)
    if prepared is None:
        return None
    space = prepared.request.space
    try:
        tried = middle(space)
        view.note(f"training a few seconds of {settings(tried) or 'the one configuration'}")
        pace = measured(
            prepared.child, Train(trial=0, config=space.config(tried, 0), checkpoints=None), stopping, clock
        )
    except ChildError as error:
        raise RunError(f"{error}. `alexsearch doctor` says what is wrong.") from None
    finally:
        prepared.child.kill()
    if stopping.is_set():
        return None
    study = existing_study(prepared.request)
    counts = Queue(request.storage, study.study_id).counts() if study else None
    total = min(space.study.trials, most_trials(space) or space.study.trials)
    if counts:
        total = max(total, counts.budget)
    return Estimate(
        space=space,
        ready=prepared.ready,
        places=prepared.places,
        existing=counts,
        trials=total + request.add - (counts.settled if counts else 0),
        tried=tried,
        pace=pace,
        mean_epochs=_mean_epochs(space),
    )


def measured(
    child: Process, train: Train, stopping: threading.Event, clock: Callable[[], float] = time.monotonic
) -> Pace | None:
    """The pace of one training, which is left unfinished; None if it shows none in `PATIENCE_SECONDS`.

    Raises:
        ChildError: the process is gone.
        RunError: the training failed.
    """
    child.send(train)
    begun, first = clock(), None
    whole: float | None = None
    parts: list[tuple[float, Progress]] = []
    while not stopping.is_set():
        match message := child.receive(0.2):
            case Epoch():
                whole, parts = message.metrics.seconds, []  # the last is the best: the first may have compiled
                child.send(Verdict(trial=message.trial, epoch=message.metrics.epoch, go=True))
            case Progress():
                parts.append((clock(), message))
            case Failed():
                raise RunError(f"what was tried failed ({message.failure.kind}): {message.failure.text}")
        if isinstance(message, (Epoch, Progress)):
            first = first or clock()
        rate = parts[-1][1].images_per_second if parts else 0.0
        pace = Pace(whole, rate) if whole is not None else _pace_of(parts)
        now = clock()
        if pace and (isinstance(message, Finished) or now - (first or now) >= MEASURED_SECONDS):
            return pace
        if isinstance(message, Finished) or now - begun > PATIENCE_SECONDS:
            return pace
    return None


def _pace_of(parts: list[tuple[float, Progress]]) -> Pace | None:
    """From two looks at the same epoch."""
    if len(parts) < 2:
        return None
    (before, early), (after, late) = parts[0], parts[-1]
    if late.epoch != early.epoch or late.step <= early.step or after <= before:
        return None
    return Pace((after - before) / (late.step - early.step) * late.steps, late.images_per_second)


def middle(space: SearchSpace) -> dict[str, Any]:
    """The params in the middle of the space: of each range the middle, of choices that are numbers the median."""
    searched = space.searched()
    return space.params(lambda name: _middle(searched[name]))


def _middle(parameter: Choices | Range) -> Any:
    if isinstance(parameter, Choices):
        are_numbers = all(isinstance(each, (int, float)) for each in parameter.choices)
        ordered = sorted(parameter.choices) if are_numbers else parameter.choices
        return encode(parameter, ordered[(len(ordered) - 1) // 2 if are_numbers else 0])
    low, high = parameter.low, parameter.high
    value = math.sqrt(low) * math.sqrt(high) if parameter.log else (low + high) / 2
    if parameter.step:
        value = low + parameter.step * int((value - low) / parameter.step)
    return round(value) if is_whole(parameter) else min(max(value, low), high)


def _mean_epochs(space: SearchSpace) -> float:
    """Over trials that are drawn evenly from the space."""
    sampler, distributions = optuna.samplers.RandomSampler(seed=0), space.distributions()
    study = optuna.create_study(sampler=sampler)
    trial = optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING)

    def drawn(name: str) -> Any:
        return sampler.sample_independent(study, trial, name, distributions[name])

    return statistics.fmean(space.epochs_of(space.params(drawn)) for _ in range(DRAWS))


def told(found: Estimate) -> list[str]:
    """It in words, with what it does not know."""
    space, stored = found.space, found.space.to_dict()
    state = described(found.existing) if found.existing else "not begun"
    lines = [f"study {space.study.name}: {state}; {found.trials} trials to train"]
    lines += [f"  sampler {stored['sampler']['name']}, pruner {stored['pruner']['name']}, seed {space.study.seed}"]
    entries = {name: entry for name, entry in stored["space"].items() if entry is not None}
    searched = [f"  {name}: {parameter(entry)}" for name, entry in entries.items() if is_searched(entry)]
    fixed = {name: entry for name, entry in entries.items() if not is_searched(entry)}
    lines += searched or ["  nothing is searched"]
    lines += [f"  fixed: {settings(fixed)}"] if fixed else []
    data = found.ready.data.model_dump()
    lines.append(f"on {images(data) if 'train_images' in data else data['source']}")
    devices = ", ".join(place.device for place in found.places)
    lines.append(f"with {len(found.places)} trial{'s' * (len(found.places) != 1)} at a time: {devices}")
    return [*lines, *_told_pace(found), "nothing was written"]


def _told_pace(found: Estimate) -> list[str]:
    seconds, tried = found.device_seconds, settings(found.tried) or "the one configuration"
    if found.pace is None or seconds is None:
        return [f"an epoch of {tried} takes more than {duration(PATIENCE_SECONDS)}: no estimate"]
    rate = f", {found.pace.images_per_second:,.0f} images a second" if found.pace.images_per_second else ""
    pace = found.pace.epoch_seconds
    epoch = duration(pace) if pace >= 10 else f"{pace:.2g} s"
    clock = duration(seconds / min(len(found.places), max(1, found.trials)))
    lines = [
        f"measured: {epoch} an epoch{rate}, of {tried}",
        f"estimate: {found.trials} trials of {number(found.mean_epochs)} epochs on average take {duration(seconds)} of "
        f"device time, {clock} by the clock",
    ]
    study = found.space.study
    pruned = not isinstance(found.space.pruner, NoPruningSpec)
    lines += ["  less what pruning will save, which nobody knows beforehand"] * pruned
    lines += ["  other values may train faster or slower, and each process takes a few seconds to start"]
    limits = {"timeout": study.timeout, "max_device_hours": study.max_device_hours, "target": study.target}
    limits |= {"patience": study.patience, "until_expected_gain": study.until_expected_gain}
    return lines + [f"  {name} = {limit} may end it sooner" for name, limit in limits.items() if limit is not None]
