"""Commands that show studies: which there are, how one stands, its best, its report; and shell completion."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final

import click

from search.cli.options import (
    console,
    finite,
    force_option,
    json_option,
    open_database,
    print_json,
    storage_options,
    study_option,
    typed_options,
)

FIGURE_NAMES = (
    *("learning-curves", "history", "seconds", "pruning", "lanes", "importances", "parallel-coordinates", "slices"),
)
"""Those of `studies.draw.study_figures.FIGURES`, which would be slow to ask."""


@click.command()
@study_option
@storage_options
@json_option
def best(study: str | None, home: Path, storage: str | None, as_json: bool) -> None:
    """Show the best complete trial of a study.

    JSON keys: study, ours (false: another program made it), number, value (of its last epoch: val_accuracy, or the
    metric that the study names), params (what was sampled), config (all of it), epochs_run, seconds, device,
    data_fingerprint, versions, git_commit.

    With a network or a training of your own also trains, metric and direction ("minimize" or "maximize").

    \b
    alexsearch best
    alexsearch best --json | jq .config
    """
    from search.screen.summary import best_document, print_best

    opened = open_database(home, storage, read_only=True)
    document = best_document(opened, study)
    if as_json:
        print_json(document)
    else:
        print_best(
            console(), opened, document, f" --study {shlex.quote(document['study'])}{typed_options(home, opened)}"
        )


@click.command()
@storage_options
@json_option
def studies(home: Path, storage: str | None, as_json: bool) -> None:
    """List the studies of a database.

    JSON keys: study, ours, budget, counts, best.

    With a network or a training of your own also trains, metric and direction ("minimize" or "maximize").

    The document is a list of these, oldest study first; their meaning is that of `status`. Where nothing was ever kept
    it is empty, with exit code 0. Without --json, and in commands that need a study with it too, that is one line on
    standard error and exit code 2.

    \b
    alexsearch studies
    alexsearch studies --storage postgresql://me@db/alexsearch --json
    """
    from search.screen.summary import print_studies, studies_document
    from studies.store.errors import NothingYetError

    try:
        opened = open_database(home, storage, read_only=True)
    except NothingYetError:
        if not as_json:
            raise
        print_json([])
        return
    document = studies_document(opened)
    if as_json:
        print_json(document)
    else:
        print_studies(console(), opened, document)


@click.command()
@study_option
@storage_options
@json_option
@click.option("--watch", "watched", is_flag=True, help="Show it until the study is done, or until Ctrl-C.")
@click.option(
    "--every",
    type=click.FloatRange(min=0.2, max=86_400),
    callback=finite,
    default=2.0,
    metavar="SECONDS",
    show_default=True,
    help="With --watch.",
)
def status(study: str | None, home: Path, storage: str | None, as_json: bool, watched: bool, every: float) -> None:
    """Show how a study stands: budget, counts, best, who works on it.

    JSON keys: study, ours (false: another program made it), budget, counts (waiting, running, complete, pruned, failed,
    retried, paused; the paused wait too), best (number, value, params; null without a complete trial), slots (slot_id,
    host, pid, device, trial, epoch, images_per_second, age_seconds, stale, gone), failures (number, reason; the last
    20), stop (null, "after" or "now": see `alexsearch stop`), stopped_by (the limit that ended it, in words, or null),
    cost (device_seconds, saved_seconds, pauses; what pruning saved is an estimate), storage.

    With a network or a training of your own also trains, metric and direction ("minimize" or "maximize"); with
    `alexsearch run --files` also files, where that keeps them.

    \b
    alexsearch status
    alexsearch status --watch
    alexsearch status --study quick --json
    """
    from search.screen.summary import print_status, status_document

    opened = open_database(home, storage, read_only=True)
    if watched and as_json:
        raise click.UsageError("--watch and --json don't go together: ask for the JSON again and again.")
    if watched:
        from search.screen.watching import watch

        watch(opened, study, console(), every=every)
    document = status_document(opened, study)
    if as_json:
        print_json(document)
    else:
        print_status(console(), document)


@click.command()
@study_option
@storage_options
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="File to write; - prints it.")
@click.option(
    "--figure",
    type=click.Choice(FIGURE_NAMES),
    metavar="NAME",
    show_default="the whole report, or the study in one picture",
    help=f"One figure: {', '.join(FIGURE_NAMES)}.",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(("html", "png", "svg", "pdf")),
    show_default="what the file's name ends in",
    help="html is the whole report; png or svg the study in one picture. A figure may be any; as a picture it needs "
    "plotly's exporter, kaleido.",
)
@force_option
def report(
    study: str | None,
    home: Path,
    storage: str | None,
    output: Path,
    figure: str | None,
    kind: str | None,
    force: bool,
) -> None:
    """Write what a study has found as one HTML file, or one picture.

    The file is complete: it opens anywhere, without a network, and can be mailed. It holds the question, the answer and
    how sure it is, all figures, the cost, what failed and why, every trial, and how to run it again. A file that
    alexsearch did not write is replaced only with --force.

    \b
    alexsearch report --study quick -o report.html
    alexsearch report --study quick -o quick.png
    alexsearch report --figure learning-curves -o curves.png
    """
    from search.base.mistakes import InputError
    from search.screen.reporting import study_figure, write_figure, write_picture, write_report

    kind = kind or {".png": "png", ".svg": "svg", ".pdf": "pdf"}.get(output.suffix.lower(), "html")
    opened = open_database(home, storage, read_only=True)
    if figure is None and kind == "pdf":
        raise InputError(f"a pdf file holds one figure. Say which with --figure: {', '.join(FIGURE_NAMES)}.")
    if figure is None and kind == "html":
        shown = f"report of study {write_report(opened, study, output, force=force).shown}"
    elif figure is None:
        shown = f"picture of study {write_picture(opened, study, output, kind, force=force).shown}"
    else:
        drawn, shown = study_figure(opened, study, figure), f"figure {figure}"
        write_figure(drawn, output, kind, force=force)
    if str(output) != "-":
        click.echo(f"{shown}: {output} ({output.stat().st_size / 1e6:.1f} MB)")


@click.command()
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def completion(shell: str) -> None:
    """Print what makes a shell complete commands and options.

    \b
    eval "$(alexsearch completion bash)"                  # in ~/.bashrc; zsh likewise, in ~/.zshrc
    alexsearch completion fish > ~/.config/fish/completions/alexsearch.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    main = click.get_current_context().find_root().command
    assert kind is not None  # noqa: S101 - for the type checker: click has all three
    click.echo(kind(main, {}, "alexsearch", "_ALEXSEARCH_COMPLETE").source())


SHOW: Final = (best, studies, status, report, completion)
