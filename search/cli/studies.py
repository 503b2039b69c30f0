"""Commands about one study as a whole: its trials as a table, what is put into its queue, its end."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from search.cli.options import (
    EXIT_FAILED,
    EXIT_USAGE,
    console,
    fail,
    force_option,
    open_database,
    storage_options,
    study_option,
    typed_options,
)

if TYPE_CHECKING:
    from search.screen.tabling import Kind


@click.command()
@study_option
@storage_options
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="File to write; - prints it.")
@click.option("--epochs", is_flag=True, help="One line an epoch, with all its metrics, instead of one a trial.")
@click.option(
    "--format",
    "kind",
    type=click.Choice(("csv", "json", "parquet")),
    show_default="what the file's name ends in, else csv",
    help="parquet needs pyarrow: pip install 'alexsearch[parquet]'.",
)
@force_option
def trials(
    study: str | None, home: Path, storage: str | None, output: Path, epochs: bool, kind: Kind | None, force: bool
) -> None:
    """Write the trials of a study as a table.

    One line a trial: number, state, value, params_* as they were sampled, epochs_run, epochs_planned, seconds,
    images_per_second, device, host, started, ended (UTC), reason, seed, same_as, resumed_after, crashes,
    data_fingerprint, git_commit, and user_attrs_* of other programs. With --epochs one an epoch: trial, epoch, and its
    metrics. A file that is there is replaced only with --force.

    In CSV, a text that a spreadsheet would take for a formula gets an apostrophe in front.

    \b
    alexsearch trials -o trials.csv
    alexsearch trials --study quick --epochs -o epochs.parquet
    alexsearch trials -o - --format json | jq '.[] | select(.state == "failed")'
    """
    from search.screen.tabling import KINDS, write_table
    from studies.record.catalog import find_study
    from studies.record.rows import epoch_table, trial_table

    opened = open_database(home, storage, read_only=True)
    found = find_study(opened, study)
    table = (epoch_table if epochs else trial_table)(opened, found)
    endings: dict[str, Kind] = {f".{each}": each for each in KINDS}
    write_table(table, output, kind or endings.get(output.suffix.lower(), "csv"), force=force)
    if str(output) != "-":
        lines = f"{len(table.rows):,} {'epoch' if epochs else 'trial'}{'s' * (len(table.rows) != 1)}"
        click.echo(f"{lines} of study {found.shown}: {output}")


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
    from search.space.space import SearchSpace
    from studies.queue.queue import Queue
    from studies.record.catalog import described, find_study
    from studies.words import listed, settings

    opened = open_database(home, storage)
    found = find_study(opened, study)
    if not found.is_ours:
        raise InputError(f"study {found.shown!r} was not made by alexsearch, so none of our workers would train it.")
    space = SearchSpace.from_dict(found.attributes["space"])
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
@click.option("--study", metavar="NAME", required=True, help="Which study.")
@storage_options
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option(
    "--despite-workers", is_flag=True, help="Even while workers are at it; they let go of their trials and end."
)
def delete(study: str, home: Path, storage: str | None, yes: bool, despite_workers: bool) -> None:
    """Delete a study with its checkpoints, logs and artifacts.

    Says first what goes and what stays, and asks. Trials, epochs and all else that the database holds of the study go
    in one transaction, then its files below --home; those on other hosts stay. What retrain, verify and their like have
    made stays, too. It can't be undone.

    \b
    alexsearch delete --study quick
    alexsearch delete --study quick --yes
    """
    from search.base.home import Home
    from search.base.mistakes import InputError
    from search.base.toml import as_shown
    from search.run.deleting import belongings_of, told
    from search.run.deleting import delete as delete_all
    from studies.record.catalog import find_study

    opened, kept = open_database(home, storage), Home(home)
    going = belongings_of(opened, kept, find_study(opened, study))
    if going.workers and not despite_workers:
        at_it = sorted({f"process {slot.pid} on {slot.host}" for slot in going.workers})
        raise InputError(
            f"study {going.study.shown!r}: {', '.join(at_it)} at work on it. End that with `alexsearch stop --now "
            f"--study {shlex.quote(going.study.shown)}`, or delete it all the same with --despite-workers."
        )
    output = console()
    for line in told(opened, going):
        output.print(line, soft_wrap=True)
    if not yes and not _confirmed("Delete it for good?"):
        fail("nothing was deleted", EXIT_FAILED)
    left = delete_all(opened, kept, going)
    output.print(f"study {going.study.shown} is deleted", soft_wrap=True)
    if left:
        fail(f"could not be removed: {', '.join(map(as_shown, left))}", EXIT_FAILED)


def _confirmed(question: str) -> bool:
    try:
        return click.confirm(question, err=True)
    except click.Abort:
        fail("nobody answered, and nothing was deleted. --yes does not ask.", EXIT_USAGE)


STUDY: Final = (trials, enqueue, delete)
