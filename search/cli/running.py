"""The commands that search: a host's own run, and a worker that joins one."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from search.cli.engines import ENGINES, engine_of, engine_options
from search.cli.machine import PAGE_CONNECTIONS
from search.cli.options import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    OTHERS,
    Space,
    code_option,
    console,
    data_option,
    fail,
    files_option,
    gpus_option,
    mlflow_option,
    open_database,
    skip_unreadable_option,
    storage_options,
    study_option,
    tensorboard_option,
    timeout_option,
    trials_per_gpu_option,
    typed_options,
    verbose_option,
    wait_option,
    workers_option,
)

if TYPE_CHECKING:
    from search.run.request import RunRequest
    from studies.record.catalog import StudyRecord
    from studies.store.storage import Storage


@click.command()
@click.argument("space", type=Space())
@click.option("--study", metavar="NAME", show_default="the space file's", help="Name of the study.")
@storage_options
@click.option("--trials", type=int, metavar="N", show_default="the space file's", help="Total of settled trials.")
@click.option("--add", type=click.IntRange(min=1), metavar="N", help="Raise the study's total by N.")
@timeout_option("the space file's")
@click.option(
    "--max-device-hours",
    type=float,
    metavar="X",
    show_default="the space file's",
    help="End the study once its trials have trained so long, on all hosts together.",
)
@click.option(
    "--target",
    type=float,
    metavar="X",
    show_default="the space file's",
    help="End the study with the first trial that reaches this val_accuracy, or value of its own metric.",
)
@click.option(
    "--patience",
    type=int,
    metavar="N",
    show_default="the space file's",
    help="End the study once N trials in a row brought nothing better.",
)
@click.option(
    "--from",
    "learns_from",
    multiple=True,
    metavar="STUDY",
    show_default="none",
    help="Have a new study's sampler learn from an earlier one's trials, which don't count. May be given again.",
)
@workers_option
@gpus_option
@trials_per_gpu_option
@engine_options
@data_option("the space file's")
@click.option("--train-images", type=int, metavar="N", show_default="the space file's", help="Images to train on.")
@click.option("--validation-images", type=int, metavar="N", show_default="the space file's", help="Images held out.")
@skip_unreadable_option
@click.option("--seed", type=int, metavar="N", show_default="the space file's", help="Seed of the study.")
@files_option
@click.option("--dashboard", is_flag=True, help="Serve the dashboard, read-only, as long as the run lasts.")
@tensorboard_option
@mlflow_option
@wait_option("a database that does not answer yet")
@click.option("--dry-run", is_flag=True, help="Only say what would be searched and how long it would take.")
@verbose_option
def run(
    space: str,
    study: str | None,
    home: Path,
    storage: str | None,
    trials: int | None,
    add: int | None,
    timeout: str | None,
    max_device_hours: float | None,
    target: float | None,
    patience: int | None,
    learns_from: tuple[str, ...],
    workers: int | None,
    gpus: str,
    trials_per_gpu: int | None,
    engine: str,
    ray_address: str,
    slurm: str,
    data: str | None,
    train_images: int | None,
    validation_images: int | None,
    skip_unreadable: bool,
    seed: int | None,
    files: str | None,
    dashboard: bool,
    tensorboard: Path | None,
    mlflow: str | None,
    wait_seconds: float,
    dry_run: bool,
    verbose: bool,
) -> None:
    """Run a search, or continue it to the end of its budget.

    SPACE is a preset (quick, hour, seed, wide, beyond) or a TOML file. Running the same command again finishes what is
    left and adds nothing; a second run at the same time joins in. Ctrl-C puts running trials back into the queue, and
    a second one ends at once; nothing that was recorded is lost.

    Of --trials, --timeout, --max-device-hours, --target and --patience, what is reached first ends the run.

    --dry-run trains a few seconds of what lies in the middle of the space, and writes nothing.

    \b
    alexsearch run quick
    alexsearch run seed --timeout 2h --target 0.77
    alexsearch run quick --trials 20                      raise its total to 20
    alexsearch run quick --dashboard                      watch it in a browser
    alexsearch run wider.toml --from quick                learn from an earlier study
    alexsearch run my.toml --dry-run                      what would it take?
    alexsearch run quick --mlflow http://localhost:5000   its trials as runs of an experiment
    alexsearch run quick --tensorboard tb                 then: tensorboard --logdir tb
    alexsearch run my.toml --data cifar10.npz --workers 2
    alexsearch run seed --storage postgresql://me@db/alexsearch
    alexsearch run seed --storage postgresql://me@db/alexsearch --engine ray --workers 16
    alexsearch run seed --engine slurm --workers 16 --slurm partition=gpu,gres=gpu:1,time=4:00:00
    alexsearch run seed --files s3://bucket/alexsearch    checkpoints follow a trial to another host
    """
    from search.base.home import Home
    from search.run.mlflow import Server
    from search.run.request import RunRequest
    from search.space.files import is_preset, load_space
    from search.space.fitting import fitted, over
    from search.space.own_files import own_of

    asked = load_space(space).with_overrides(
        trials=trials,
        timeout=timeout,
        max_device_hours=max_device_hours,
        target=target,
        patience=patience,
        seed=seed,
        name=study,
    )
    numbers = {"train_images": train_images, "validation_images": validation_images}
    loaded = over(asked, data or None, **numbers, skip_unreadable=skip_unreadable or None, fit_batches=is_preset(space))
    request_of = partial(
        RunRequest,
        space=loaded,
        add=add or 0,
        workers=workers,
        gpus=gpus,
        trials_per_gpu=trials_per_gpu,
        timeout_seconds=loaded.study.timeout_seconds,
        digits_without_download=space == "quick" and not data,
        notes=fitted(asked, loaded, numbers),
        learns_from=learns_from,
        files=files,
        tensorboard=tensorboard,
        mlflow=Server(mlflow) if mlflow else None,
        own=own_of(loaded, (Path(space).parent,)),
        code=Path(space).parent,
        engine=engine_of(engine, gpus, trials_per_gpu, ray_address=ray_address, slurm=slurm),
    )
    if dry_run:
        if engine != ENGINES[0]:
            raise click.UsageError(
                f"--dry-run trains on this host, to see how long it takes: leave --engine {engine} out."
            )
        _estimate(request_of, home, storage)
        return
    request = request_of(home=Home(home), storage=open_database(home, storage, create=True, wait_seconds=wait_seconds))
    if not dashboard:
        _search(request, trials, data, verbose=verbose)
        return
    from search.screen.serving import dashboard_beside

    pages = open_database(home, storage, read_only=True, connections=PAGE_CONNECTIONS)
    with dashboard_beside(pages, Home(home).artifacts) as told:
        click.echo(told)
        _search(request, trials, data, verbose=verbose)


def _estimate(request_of: Callable[..., RunRequest], home: Path, storage: str | None) -> None:
    """Say what the run would be, and leave nothing behind."""
    from search.base.home import Home
    from search.run.estimating import estimate, nothing_written, told
    from search.run.request import RunError
    from search.run.stopping import Stopping
    from search.screen.live import Screen
    from studies.store.errors import NothingYetError

    try:
        opened = open_database(home, storage, read_only=True)
    except NothingYetError:
        opened = None
    output = console()
    with nothing_written(Home(home), opened) as (passing, database), Stopping(database) as stopping:
        try:
            with Screen(output, stopping.event) as screen:
                found = estimate(request_of(home=passing, storage=database), screen, stopping.event)
        except RunError as error:
            fail(str(error), EXIT_FAILED)
    if found is None:
        fail("interrupted", stopping.exit_code or EXIT_INTERRUPTED)
    for line in told(found):
        output.print(line, soft_wrap=True)


@click.command()
@study_option
@storage_options
@timeout_option("none")
@workers_option
@gpus_option
@trials_per_gpu_option
@data_option("the study's")
@code_option("this folder")
@tensorboard_option
@wait_option("the study, and for its database")
@verbose_option
def worker(
    study: str | None,
    home: Path,
    storage: str | None,
    timeout: str | None,
    workers: int | None,
    gpus: str,
    trials_per_gpu: int | None,
    data: str | None,
    code: Path | None,
    tensorboard: Path | None,
    wait_seconds: float,
    verbose: bool,
) -> None:
    """Join a study from another shell or host.

    A worker takes trials until all are settled. It adds none, needs no space file, and may leave at any time.
    --data says where the same images are on this host. A network or a training of one's own must lie here too, the same
    version of it, in this folder or in --code's.

    \b
    alexsearch worker --study wide --storage postgresql://me@db/alexsearch
    alexsearch worker --study wide --wait 10m             it may not have begun yet
    """
    from search.base.home import Home
    from search.base.mistakes import InputError
    from search.base.provenance import alexsearch_version
    from search.run.request import RunRequest
    from search.space.own_files import own_of
    from search.space.stored import check_version, stored_space

    opened, found = _awaited(study, home, storage, wait_seconds)
    check_version(found, alexsearch_version())
    if not found.is_ours:
        raise InputError(f"study {found.shown!r} {found.not_ours}: there is no space to take trials from. {OTHERS}")
    space = stored_space(found)
    space = space.with_overrides(name=found.name, source=data or None, timeout=timeout)
    request = RunRequest(
        space=space,
        home=Home(home),
        storage=opened,
        workers=workers,
        gpus=gpus,
        trials_per_gpu=trials_per_gpu,
        timeout_seconds=space.study.timeout_seconds if timeout else None,
        joins=True,
        own=own_of(space, (code or Path(),)),
        tensorboard=tensorboard,
    )
    _search(request, None, data, verbose=verbose)


def _awaited(study: str | None, home: Path, storage: str | None, seconds: float) -> tuple[Storage, StudyRecord]:
    """The study that a worker is to join, and its database, waited for."""
    import time

    from studies.record.catalog import all_studies, find_study
    from studies.store.errors import NothingYetError

    end, said = time.monotonic() + seconds, False
    while True:
        left = end - time.monotonic()
        try:
            opened = open_database(home, storage, wait_seconds=left)
            names = [each.name for each in all_studies(opened) if each.is_ours]
            if left <= 0 or (study in names if study else names):
                return opened, find_study(opened, study)
            opened.engine.dispose()
        except NothingYetError:
            if left <= 0:
                raise
        if not said:
            click.echo("alexsearch: waiting for the study. Ctrl-C ends the waiting.", err=True)
            said = True
        time.sleep(min(left, 1.0))


def _search(request: RunRequest, trials: int | None, data: str | None, *, verbose: bool) -> None:
    """Run it with a screen, and end with what it came to. `trials` and `data` are those of the options."""
    from search.base.logs import keep_log
    from search.run.host import run_search
    from search.run.request import RunError
    from search.run.stopping import Stopping
    from search.screen.live import Screen
    from search.screen.summary import print_outcome, show_what_was_before
    from studies.store.errors import StorageError

    keep_log(request.home.log_file, verbose=verbose)
    output, name = console(), request.space.study.name
    with Stopping(request.storage) as stopping:
        try:
            with Screen(output, stopping.event) as screen:
                show_what_was_before(screen, request.storage, name)
                outcome = run_search(request, screen, stopping.event)
        except (RunError, StorageError) as error:
            fail(str(error), EXIT_FAILED)
        except KeyboardInterrupt:
            fail("interrupted before a trial was started. Nothing was changed.", stopping.exit_code or EXIT_INTERRUPTED)
    study = outcome.study
    home, storage = request.home, request.storage
    where = f" --study {shlex.quote(study.shown)}{typed_options(home.folder, storage)}"
    logs, again = str(home.log(study.folder, "slot-0").parent), typed_options(home.folder, storage, data)
    print_outcome(output, storage, outcome, where, logs, retrained_with=again)
    if trials and not request.add and trials < outcome.counts.budget:
        click.echo(
            f"--trials {trials}: the study has {outcome.counts.budget}, and its total is never lowered", err=True
        )
    if outcome.interrupted:
        raise SystemExit(stopping.exit_code)


RUNNING: Final = (run, worker)
