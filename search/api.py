"""alexsearch from Python and from notebooks: what the commands do, as functions.

    from search import api

    study = api.run("quick", data="digits", trials=6)     # or api.open_study("quick"), where it has run already
    study.best.value, study.counts, study.trials
    api.figure(study, "learning-curves")                  # a plotly figure: a notebook shows it
    recipe = api.best_recipe(study)
    api.report(study, "report.html")
    api.retrain(recipe, seeds=2)                          # trains on all images, then opens the test set

Everything is written where the commands write it, so both may be used on one study. `home` is the folder that --home
names, `storage` what --storage does. What a user can mend is raised as the exceptions that each function names, with
the message that the command would print. Importing this module costs nothing; what a function needs it imports itself.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial
    from plotly.graph_objects import Figure

    from search.retraining.recipe import Recipe
    from search.retraining.verify import Verification
    from search.run.engines.engine import Engine
    from search.space.space import SearchSpace
    from studies.queue.standing import Counts
    from studies.record.catalog import StudyRecord
    from studies.record.findings import Findings
    from studies.store.storage import Storage

HOME = Path("runs")


@dataclass(frozen=True)
class Study:
    """A study of the database. Each property asks anew, so it is what holds now."""

    name: str
    storage: Storage
    home: Path

    @property
    def record(self) -> StudyRecord:
        """What it was asked. Raises StudyError if somebody has deleted it."""
        from studies.record.catalog import find_study

        return find_study(self.storage, self.name)

    @property
    def trials(self) -> list[FrozenTrial]:
        """All its trials, by number."""
        return self.storage.get_all_trials(self.record.study_id, deepcopy=False)

    @property
    def counts(self) -> Counts:
        """How its trials stand."""
        from studies.queue.queue import Queue

        return Queue(self.storage, self.record.study_id).counts()

    @property
    def best(self) -> FrozenTrial:
        """The complete trial with the highest validation accuracy. Raises StudyError without one."""
        from studies.record.catalog import best_trial

        return best_trial(self.storage, self.record)

    @property
    def findings(self) -> Findings:
        """What it has come to: best, gain, cost, verified score. For studies that alexsearch made."""
        from studies.record.findings import findings_of

        return findings_of(self.storage, self.record)

    @property
    def status(self) -> dict[str, Any]:
        """What `alexsearch status --json` prints."""
        from search.screen.summary import status_document

        return status_document(self.storage, self.name)

    def stop(self, *, now: bool = False) -> None:
        """Have all workers take no new trial; with `now`, running ones go back into the queue."""
        from studies.queue.queue import Queue

        Queue(self.storage, self.record.study_id).request_stop(now=now)


def run(
    space: str | Path | Mapping[str, Any] | SearchSpace,
    *,
    home: str | Path = HOME,
    storage: str | None = None,
    study: str | None = None,
    data: str | None = None,
    train_images: int | None = None,
    validation_images: int | None = None,
    skip_unreadable: bool = False,
    trials: int | None = None,
    add: int = 0,
    learns_from: Sequence[str] = (),
    files: str | None = None,
    workers: int | None = None,
    gpus: str = "all",
    trials_per_gpu: int | None = 1,
    timeout: str | None = None,
    max_device_hours: float | None = None,
    target: float | None = None,
    patience: int | None = None,
    seed: int | None = None,
    engine: Engine | None = None,
    quiet: bool = False,
) -> Study:
    """Search `space` to the end of its budget, or go on with it where it was.

    `space` is a preset's name, a file, or what a file would hold; `learns_from` are earlier studies (--from), the
    rest as for `alexsearch run`. `trials_per_gpu` None chooses by the GPU's memory. `engine` has the workers elsewhere:
    an `OnRay()` or `OnSlurm("partition=gpu")` from `search.run.engines`, which `on_ray` and `on_slurm` there describe.
    `quiet` prints nothing.
    Interrupted (Ctrl-C, a notebook's stop button), running trials go back into the queue with their checkpoints, and
    KeyboardInterrupt is raised: run it again to go on.

    Raises:
        InputError, DataError: a setting or the data is wrong; nothing was started.
        RunError, StorageError: it could not go on; what was recorded is whole.
    """
    from search.base.home import Home
    from search.base.terminal import Output
    from search.run.host import run_search
    from search.run.request import RunRequest
    from search.run.stopping import Stopping
    from search.screen.live import Screen
    from search.screen.summary import show_what_was_before
    from search.space.files import is_preset, load_space
    from search.space.fitting import fitted, over
    from search.space.own_files import own_of
    from search.space.space import SearchSpace, parse_space
    from studies.store.opening import open_storage
    from studies.store.urls import storage_url

    if isinstance(space, SearchSpace):
        loaded = space
    else:
        loaded = parse_space(space, "space") if isinstance(space, Mapping) else load_space(str(space))
    asked = loaded.with_overrides(
        trials=trials,
        timeout=timeout,
        max_device_hours=max_device_hours,
        target=target,
        patience=patience,
        seed=seed,
        name=study,
    )
    numbers = {"train_images": train_images, "validation_images": validation_images}
    loaded = over(asked, data, **numbers, skip_unreadable=skip_unreadable or None, fit_batches=is_preset(space))
    home = Path(home)
    opened = open_storage(storage_url(storage, home))
    code = Path(space).parent if isinstance(space, (str, Path)) else Path()
    own = own_of(loaded, (code,))
    request = RunRequest(
        space=loaded,
        home=Home(home),
        storage=opened,
        add=add,
        learns_from=tuple(learns_from),
        workers=workers,
        gpus=gpus,
        trials_per_gpu=trials_per_gpu,
        timeout_seconds=loaded.study.timeout_seconds,
        digits_without_download=space == "quick" and not data,
        notes=fitted(asked, loaded, numbers),
        files=files,
        own=own,
        engine=engine,
        code=code,
    )
    output = Output(quiet=quiet)
    output.is_interactive = False  # lines, not a live table: a cell's output is no terminal
    if threading.current_thread() is not threading.main_thread():  # which alone may answer signals
        outcome = run_search(request, Screen(output), threading.Event())
        return Study(outcome.study.name, opened, home)
    with Stopping(opened) as stopping, Screen(output, stopping.event) as screen:
        show_what_was_before(screen, opened, loaded.study.name)
        outcome = run_search(request, screen, stopping.event)
    if stopping.exit_code:
        raise KeyboardInterrupt
    return Study(outcome.study.name, opened, home)


def open_study(name: str | None = None, *, home: str | Path = HOME, storage: str | None = None) -> Study:
    """The study called `name`; without a name, the only one there is.

    Raises:
        StudyError: there is none, or more than one.
        StorageError: the database is not there, or can't be used.
    """
    from studies.record.catalog import find_study
    from studies.store.opening import open_storage
    from studies.store.urls import storage_url

    home = Path(home)
    opened = open_storage(storage_url(storage, home), create=False)
    return Study(find_study(opened, name).name, opened, home)


def best_recipe(study: Study, trial: int | None = None) -> Recipe:
    """The configuration of the best trial, or of the one with this number: all that a retraining needs.

    Raises:
        StudyError: no such trial, or none that is complete yet.
        InputError: alexsearch did not train it.
    """
    from search.retraining.recipes import find_recipes

    return find_recipes(study.storage, study.name, trial)[0]


def save_recipe(recipe: Recipe, path: str | Path, *, force: bool = False) -> Path:
    """Write a recipe as the file that `alexsearch retrain` takes.

    Raises InputError if it can't be written, or, without `force`, if a file is there that is no recipe or was edited.
    """
    from search.retraining.recipe import write_recipe

    write_recipe(recipe, Path(path), force=force)
    return Path(path)


def retrain(
    recipe: Recipe | str | Path,
    *,
    seeds: int = 1,
    validate: bool = False,
    epochs: int | None = None,
    out: str | Path | None = None,
    data: str | None = None,
    workers: int | None = None,
    gpus: str = "all",
    trials_per_gpu: int | None = 1,
    code: str | Path | None = None,
    home: str | Path = HOME,
    storage: str | None = None,
    force: bool = False,
    quiet: bool = False,
) -> Mapping[str, Any]:
    """Train a recipe, or the one in a file, on all training images, then open the test set; as `alexsearch retrain`.

    With `validate` the search's split is kept and the test set stays closed. With `epochs` its schedule and warm-up are
    stretched to so many. The score is written to the recipe's study where the database has it. `code` is the folder of
    the file of a network or a training of one's own, by default the recipe's, then this one. `force` lets `out` hold
    other things. `quiet` prints nothing. Returns what is
    written to metrics.json: searched, mean, spread, interval ...

    Raises:
        InputError, DataError: the recipe, the folder or the data is wrong.
        StorageError: `storage` names a database that can't be used.
        TrainError: a training failed.
    """
    from search.base.home import Home
    from search.base.terminal import Output
    from search.retraining.jobs import Means
    from search.retraining.recipe import read_recipe
    from search.retraining.retrain import retrain_recipe
    from search.screen.outcomes import print_retrained, shown
    from studies.store.errors import StorageError
    from studies.store.opening import open_storage
    from studies.store.urls import storage_url

    found = read_recipe(Path(recipe)) if isinstance(recipe, (str, Path)) else recipe
    home = Path(home)
    try:
        opened = open_storage(storage_url(storage, home), create=False)
    except StorageError:
        if storage:
            raise
        opened = None  # a recipe alone is enough
    folders = (Path(recipe).parent, Path()) if isinstance(recipe, (str, Path)) else (Path(),)
    folders = (Path(code),) if code else folders
    means = Means(Home(home), data, workers, gpus, trials_per_gpu, opened, folders=folders)
    out = Path(out) if out else None
    asked = partial(
        retrain_recipe, found, seeds=seeds, out=out, means=means, validate=validate, epochs=epochs, force=force
    )
    return shown(Output(quiet=quiet), lambda view: asked(view=view), print_retrained).document


def verify(
    study: Study,
    *,
    top: int = 5,
    seeds: int = 3,
    epochs: int | None = None,
    out: str | Path | None = None,
    data: str | None = None,
    workers: int | None = None,
    gpus: str = "all",
    trials_per_gpu: int | None = 1,
    code: str | Path | None = None,
    force: bool = False,
    quiet: bool = False,
) -> Verification:
    """Compare a study's best trials on fresh seeds, and retrain the best of them; as `alexsearch verify`.

    With `epochs` their schedules and warm-ups are stretched to so many. `code` is the folder of the file of a network
    or a training of one's own, by default this one. `force` lets `out` hold other things. `quiet` prints nothing.

    Raises:
        StudyError: no trial is complete yet.
        InputError, DataError: a setting or the data is wrong.
        TrainError: a training failed.
    """
    from search.base.home import Home
    from search.base.terminal import Output
    from search.retraining.jobs import Means
    from search.retraining.verify import verify_study
    from search.screen.outcomes import print_verified, shown

    folders = (Path(code) if code else Path(),)
    means = Means(Home(study.home), data, workers, gpus, trials_per_gpu, study.storage, folders=folders)
    out = Path(out) if out else None
    asked = partial(
        verify_study, study.storage, study.name, top=top, seeds=seeds, out=out, means=means, epochs=epochs, force=force
    )
    return shown(Output(quiet=quiet), lambda view: asked(view=view), print_verified)


def figure(study: Study, name: str = "learning-curves") -> Figure:
    """One of a study's figures, as plotly's: `figure_names` says which there are. Raises InputError for another."""
    from search.screen.reporting import study_figure

    return study_figure(study.storage, study.name, name)


def figure_names() -> tuple[str, ...]:
    """The figures that there are."""
    from studies.draw.study_figures import FIGURES

    return tuple(FIGURES)


def report(study: Study, path: str | Path = "report.html", *, force: bool = False) -> Path:
    """Write what a study has found as one HTML file.

    Raises InputError if it can't be written, or, without `force`, if a file is there that alexsearch did not write.
    """
    from search.screen.reporting import write_report

    write_report(study.storage, study.name, Path(path), force=force)
    return Path(path)
