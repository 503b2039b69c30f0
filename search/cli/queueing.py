"""Commands about a study's queue: what is put into it, put back, and that no more is taken."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from search.cli.options import (
    OTHERS,
    console,
    open_database,
    storage_options,
    study_option,
    typed_options,
)


@click.command()
@click.argument("values", nargs=-1, required=True, metavar="NAME=VALUE...")
@study_option
@storage_options
@click.option(
    "--outside",
    is_flag=True,
    help="Allow values beyond the ranges or constraints of the space, if they can be trained with.",
)
def enqueue(values: tuple[str, ...], study: str | None, home: Path, storage: str | None, outside: bool) -> None:
    """Put a point that you know into a study's queue.

    It is one trial more than the study's total, and is taken before those that wait: by a run or worker that is at it,
    or by the next. What the study searches and you leave out, its sampler chooses. What is not searched can't be given.

    \b
    alexsearch enqueue --study quick batch_size=64 learning_rate=0.01
    alexsearch enqueue schedule=step 'step_epochs=[3, 4]'
    alexsearch enqueue learning_rate=0.5 --outside
    """
    from search.base.mistakes import InputError
    from search.choosing.given import given_params, left_out
    from search.space.stored import stored_space
    from studies.queue.queue import Queue
    from studies.record.catalog import described, find_study
    from studies.words import listed, settings

    opened = open_database(home, storage)
    found = find_study(opened, study)
    if not found.is_ours:
        raise InputError(f"study {found.shown!r} was not made by alexsearch, so none of our workers would train it.")
    space = stored_space(found)
    params = given_params(space, values, outside=outside)
    queue = Queue(opened, found.study_id)
    number = queue.enqueue(params)
    output = console()
    output.print(
        f"study {found.shown}: trial {number} is next: {settings(params) or 'nothing is given'}", soft_wrap=True
    )
    if rest := left_out(space, params):
        output.print(f"the sampler chooses {listed(rest)}", soft_wrap=True)
    output.print(described(queue.counts()), soft_wrap=True)
    if not any(not slot.stale for slot in queue.slots()):
        where = f" --study {shlex.quote(found.shown)}{typed_options(home, opened)}"
        output.print(f"next: the same `alexsearch run` as before, or alexsearch worker{where}", soft_wrap=True)


@click.command()
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


@click.command()
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


QUEUE: Final = (enqueue, stop, retry)
