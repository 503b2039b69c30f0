"""The command `alexsearch`. A command parses, calls one function of the library and prints.

Exit codes: 0 done, 1 a failure while running, 2 wrong usage or input, 130 interrupted by Ctrl-C, 143 terminated.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from search.cli.engines import ENGINES, engine_of, engine_options
from search.cli.machine import MACHINE, PAGE_CONNECTIONS
from search.cli.options import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    Commands,
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
from search.cli.recipes import RECIPES
from search.cli.show import SHOW
from search.cli.studies import STUDY
from search.cli.use import USE

if TYPE_CHECKING:
    from search.run.request import RunRequest
    from studies.record.catalog import StudyRecord
    from studies.store.storage import Storage

OTHERS = "Name another with --study: `alexsearch studies` says which are ours."


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="alexsearch")
def main() -> None:
    """Search the hyperparameters of your own training, or of an AlexNet on CIFAR-10.

    \b
    alexsearch run my.toml               search; run it again to continue
    alexsearch run quick                 ... a preset, to see how it goes
    alexsearch dashboard                 look at it in a browser
    alexsearch best                      the best configuration found
    alexsearch export -o best.toml       ... as a file
    alexsearch retrain best.toml         train it on everything and open the test set
    alexsearch verify                    compare the best few on fresh seeds first
    """
    os.umask(os.umask(0o077) | 0o077)  # what is written is for its owner: logs, databases, models


@main.command()
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


@main.command()
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


@main.command()
@study_option
@storage_options
@click.option("--now", is_flag=True, help="Put running trials back into the queue, with their checkpoints.")
def stop(study: str | None, home: Path, storage: str | None, now: bool) -> None:
    """Have all workers of a study take no new trial.

    On every host. `alexsearch run` goes on with the study.

    \b
    alexsearch stop --study wide
    alexsearch stop --study wide --now
    """
    from search.base.mistakes import InputError
    from studies.queue.queue import Queue
    from studies.record.catalog import described, find_study

    opened = open_database(home, storage)
    found = find_study(opened, study)
    if not found.is_ours:
        raise InputError(f"study {found.shown!r} {found.not_ours}, so none of our workers is at it. {OTHERS}")
    queue = Queue(opened, found.study_id)
    queue.request_stop(now=now)
    running = "running ones go back into the queue within seconds" if now else "running ones are finished"
    console().print(f"study {found.shown} takes no new trial, {running}: {described(queue.counts())}", soft_wrap=True)


@main.command()
@storage_options
def upgrade(home: Path, storage: str | None) -> None:
    """Upgrade a database that an earlier alexsearch made.

    `run`, `worker` and whatever else writes do so by themselves; commands that only read don't. End the earlier one's
    workers before, and keep a copy: an earlier alexsearch can't read it any more.

    \b
    alexsearch upgrade --storage postgresql://me@db/alexsearch
    """
    from studies.store.schema import LATEST

    opened = open_database(home, storage)
    console().print(f"{opened.name} has version {LATEST}", soft_wrap=True)


@main.command()
@study_option
@storage_options
@click.option("--trial", "trials", type=click.IntRange(min=0), multiple=True, metavar="N", help="This one; repeatable.")
@click.option("--failed", is_flag=True, help="All that failed.")
def retry(study: str | None, home: Path, storage: str | None, trials: tuple[int, ...], failed: bool) -> None:
    """Put trials that failed, or were pruned, back into the queue.

    Failed ones for when what made them fail is mended: their crashes are counted from none. Pruned ones, which
    --trial names, neither pause nor are pruned again. All keep their number and values and go on from their checkpoint
    if it is still there. `alexsearch run` or `worker` then trains them.

    \b
    alexsearch retry --study wide --failed
    alexsearch retry --study wide --trial 3 --trial 5
    """
    from search.base.mistakes import InputError
    from studies.queue.queue import Queue
    from studies.record.catalog import described, find_study, last_failures
    from studies.words import listed

    if failed == bool(trials):
        raise click.UsageError("say which: --failed for all that failed, or --trial N.")
    opened = open_database(home, storage)
    found = find_study(opened, study)
    if not found.is_ours:
        raise InputError(f"study {found.shown!r} {found.not_ours}, so no worker would train them. {OTHERS}")
    queue = Queue(opened, found.study_id)
    there = sorted(failure.number for failure in last_failures(opened, found, queue.counts().failed))
    unfinished = queue.unfinished()
    if others := sorted(set(trials) - {*there, *unfinished}):
        are = "is complete, or has not ended" if len(others) == 1 else "are complete, or have not ended"
        raise InputError(
            f"study {found.shown}: {_trials(others)} {are}. Failed: {listed(list(map(str, there))) or 'none'}; paused "
            f"or pruned: {listed(list(map(str, unfinished))) or 'none'}."
        )
    failures = [number for number in there if failed or number in trials]
    queue.retry(failures)
    thawed = queue.thaw([number for number in unfinished if number in trials])
    numbers = sorted({*failures, *thawed})
    again = f"{_trials(numbers)} wait{'s' * (len(numbers) == 1)} again" if numbers else "no trial has failed"
    again += ", to be trained to its end" if thawed == numbers and len(numbers) == 1 else ""
    output = console()
    output.print(f"study {found.shown}: {again}: {described(queue.counts())}", soft_wrap=True)
    if numbers:
        where = f" --study {shlex.quote(found.shown)}{typed_options(home, opened)}"
        output.print(f"next: the same `alexsearch run` as before, or alexsearch worker{where}", soft_wrap=True)


def _trials(numbers: Sequence[int]) -> str:
    from studies.words import listed

    return f"trial{'s' * (len(numbers) != 1)} {listed([str(number) for number in numbers])}"


for command in (*RECIPES, *SHOW, *STUDY, *MACHINE, *USE):
    main.add_command(command)


if __name__ == "__main__":
    main()
