"""Commands about a study as a whole, and the database it lies in: trials as a table, the move, the end, the upgrade."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from search.cli.options import (
    EXIT_FAILED,
    EXIT_USAGE,
    PASSWORD_FILE,
    console,
    fail,
    force_option,
    home_option,
    open_database,
    storage_options,
    study_option,
)

if TYPE_CHECKING:
    from search.screen.tabling import Kind

TO = "ALEXSEARCH_MIGRATE_TO"


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
@click.option("--study", metavar="NAME", required=True, help="Which study.")
@storage_options
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option("--keep-files", is_flag=True, help="Leave its files: a copy in another database has the same ones.")
@click.option(
    "--despite-workers", is_flag=True, help="Even while workers are at it; they let go of their trials and end."
)
def delete(study: str, home: Path, storage: str | None, yes: bool, keep_files: bool, despite_workers: bool) -> None:
    """Delete a study with its checkpoints, logs and artifacts.

    Says first what goes and what stays, and asks. Trials, epochs and all else that the database holds of the study go
    in one transaction, then its files below --home and where --files said; those below other hosts' homes stay. What
    retrain, verify and their like have made stays, too. It can't be undone.

    \b
    alexsearch delete --study quick
    alexsearch delete --study quick --yes
    alexsearch delete --study quick --keep-files          after `alexsearch migrate`
    """
    from search.base.home import Home
    from search.base.mistakes import InputError
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
    if keep_files:
        going = replace(going, folders=(), artifacts=(), followed=None, unreached="")
    output = console()
    for line in told(opened, going):
        output.print(line, soft_wrap=True)
    if not yes and not _confirmed("Delete it for good?"):
        fail("nothing was deleted", EXIT_FAILED)
    left = delete_all(opened, kept, going)
    output.print(f"study {going.study.shown} is deleted", soft_wrap=True)
    if left:
        fail(f"could not be removed: {', '.join(left)}", EXIT_FAILED)


def _confirmed(question: str) -> bool:
    try:
        return click.confirm(question, err=True)
    except click.Abort:
        fail("nobody answered, and nothing was deleted. --yes does not ask.", EXIT_USAGE)


@click.command()
@click.option(
    "--from",
    "--storage",
    "storage",
    metavar="URL",
    envvar="ALEXSEARCH_STORAGE",
    show_envvar=True,
    show_default="sqlite:///HOME/alexsearch.db",
    help="Database to copy from, as --storage names it elsewhere. Its password, as there.",
)
@click.option(
    "--to",
    metavar="URL",
    envvar=TO,
    show_envvar=True,
    required=True,
    help=f"Database to copy to; made if it is not there. A password belongs in {TO}, or in the file that "
    f"{TO}_PASSWORD_FILE names; where --from is SQLite, that of ALEXSEARCH_STORAGE_PASSWORD_FILE will do.",
)
@click.option("--study", "names", metavar="NAME", multiple=True, show_default="all", help="This one; repeatable.")
@home_option
def migrate(storage: str | None, to: str, names: tuple[str, ...], home: Path) -> None:
    """Copy studies into another database.

    With all that belongs to them: trials with their numbers, epochs, what retraining came to, notes, limits. SQLite to
    Postgres, back, or between two of a kind. Each is copied whole or not at all, and is read back from both databases
    before it is there. Killed in the middle, it goes on if the same is typed again. The originals stay as they are.

    No worker may be at work on a study that is copied. Files below --home stay where they are: both know them.

    \b
    alexsearch migrate --to postgresql://me@db/alexsearch
    alexsearch migrate --from postgresql://me@db/alexsearch --to sqlite:///laptop.db --study quick --study wide
    """
    from search.base.toml import as_shown
    from search.run import migrating
    from studies.store.copying import CopyError

    opened = open_database(home, storage, read_only=True)
    studies = migrating.chosen(opened, names)
    if dead := migrating.check_workers(opened, studies):
        migrating.release(open_database(home, storage), dead)
    files = [f"{TO}_PASSWORD_FILE"] + [PASSWORD_FILE] * (opened.engine.name == "sqlite")
    target = open_database(home, to, create=True, option="to", password_files=files)
    plan, output, failures = migrating.plan(opened, target, studies), console(), []
    for study, content in plan.there:
        output.print(f"study {study.shown} is there already, the same: {migrating.told(content)}", soft_wrap=True)
    for study, differences in plan.changed:
        failures.append(
            f"study {study.shown!r} is in {target.name} already, and one of the two has changed since: {differences}. "
            "Nothing was done to either."
        )
    for study in plan.missing:
        try:
            with click.progressbar(
                length=1, label=f"study {study.shown}", file=sys.stderr, hidden=_no_terminal()
            ) as bar:
                content = migrating.migrate(opened, target, study, partial(_show, bar))
        except CopyError as error:
            failures.append(str(error))
            continue
        output.print(f"study {study.shown} is copied: {migrating.told(content)}, the same in both", soft_wrap=True)
        if remark := migrating.running_elsewhere(opened, study):
            output.print(remark, soft_wrap=True)
    if failures:
        fail("\n".join(failures), EXIT_FAILED)
    if not plan.missing:
        output.print("all of it was copied before: nothing was left to do", soft_wrap=True)
    output.print(
        f"files below {as_shown(home)} (checkpoints, artifacts, logs) stay where they are: on this host, and wherever "
        "that folder is shared, the copies find them",
        soft_wrap=True,
    )
    output.print(
        "next: go on with the copies alone, and `alexsearch delete --keep-files` the originals", soft_wrap=True
    )


def _show(bar: Any, copied: int, rows: int) -> None:
    bar.length = rows
    bar.update(copied - bar.pos)


def _no_terminal() -> bool:
    return not sys.stderr.isatty()


@click.command()
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


STUDY: Final = (trials, delete, migrate, upgrade)
