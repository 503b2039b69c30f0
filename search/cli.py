"""The command `alexsearch`. A command parses, calls one function of the library and prints.

Exit codes: 0 done, 1 a failure while running, 2 wrong usage or input, 130 interrupted, 143 terminated.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.console import Console

from model.config import BUNDLED_IMAGES, DataError, TrainError
from search.home import Home
from search.mistakes import InputError

if TYPE_CHECKING:
    from studies.storage import Storage

Command = TypeVar("Command", bound=Callable[..., Any])

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130


class _Commands(click.Group):
    """Turns the errors that a user can mend into a message and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        from studies.catalog import StudyError
        from studies.dashboard import DashboardError
        from studies.storage import StorageError

        try:
            return super().invoke(ctx)
        except InputError as error:
            _fail("\n".join(error.mistakes), EXIT_USAGE)
        except (DataError, StudyError, StorageError, DashboardError) as error:
            _fail(str(error), EXIT_USAGE)
        except (TrainError, OSError) as error:
            _fail(str(error), EXIT_FAILED)


def _fail(message: str, code: int) -> None:
    click.echo(f"alexsearch: {message}", err=True)
    raise SystemExit(code)


def _home_option(command: Command) -> Command:
    option = click.option(
        "--home",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path("runs"),
        envvar="ALEXSEARCH_HOME",
        show_envvar=True,
        show_default=True,
        help="Folder of the SQLite file, checkpoints, logs and exports.",
    )
    return option(command)


def _storage_options(command: Command) -> Command:
    """--home and --storage."""
    storage = click.option(
        "--storage",
        metavar="URL",
        envvar="ALEXSEARCH_STORAGE",
        show_envvar=True,
        help="postgresql://USER@HOST/DATABASE or sqlite:///FILE; HOME/alexsearch.db by default. A password belongs in "
        "ALEXSEARCH_STORAGE, or in the file that ALEXSEARCH_STORAGE_PASSWORD_FILE names: other users of this machine "
        "can read a command line.",
    )
    return _home_option(storage(command))


def _study_option(command: Command) -> Command:
    return click.option("--study", metavar="NAME", help="The study; may be left out where there is only one.")(command)


def _json_option(command: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")(command)


def _open(home: Path, storage: str | None, *, create: bool = False) -> Storage:
    from studies.storage import has_password, open_storage, storage_url

    url = storage_url(storage, home)
    source = click.get_current_context().get_parameter_source("storage")
    if storage and source is click.core.ParameterSource.COMMANDLINE and has_password(storage):
        click.echo(
            "alexsearch: --storage carries a password, which other users of this machine can read. "
            "Put the URL into ALEXSEARCH_STORAGE instead.",
            err=True,
        )
    return open_storage(url, create=create)


def _console() -> Console:
    """Standard output for people; in a pipe or a log, lines are not broken for a width that nobody has."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 160)


def _print_json(document: Any) -> None:
    click.echo(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="alexsearch")
def main() -> None:
    """Search the hyperparameters of an AlexNet on CIFAR-10.

    \b
    alexsearch run quick                 search; run it again to continue
    alexsearch dashboard                 look at it in a browser
    alexsearch best                      the best configuration found
    alexsearch export -o best.toml       ... as a file
    alexsearch retrain best.toml         train it on all images and open the test set
    """


@main.command()
@click.argument("space")
@click.option("--study", metavar="NAME", help="Name of the study; the space file's by default.")
@_storage_options
@click.option("--trials", type=int, metavar="N", help="Total of settled trials; the space file's by default.")
@click.option("--add", type=click.IntRange(min=1), metavar="N", help="Raise the study's total by N.")
@click.option(
    "--workers", type=click.IntRange(min=1), metavar="N", help="Trials at a time; one a GPU, or one on a CPU."
)
@click.option(
    "--data",
    metavar="SOURCE",
    envvar="ALEXSEARCH_DATA",
    show_envvar=True,
    help=("cifar10, digits, synthetic, a .npz file or an image folder; the space file's by default."),
)
@click.option("--seed", type=int, metavar="N", help="Seed of the study; the space file's by default.")
def run(
    space: str,
    study: str | None,
    home: Path,
    storage: str | None,
    trials: int | None,
    add: int | None,
    workers: int | None,
    data: str | None,
    seed: int | None,
) -> None:
    """Run a search, or continue it to the end of its budget.

    SPACE is a preset (quick, seed, wide) or a TOML file. Running the same command again finishes what is left and adds
    nothing; a second run at the same time joins in. Ctrl-C puts running trials back into the queue.

    \b
    alexsearch run quick
    alexsearch run quick --trials 20                      raise its total to 20
    alexsearch run my.toml --data cifar10.npz --workers 2
    alexsearch run seed --storage postgresql://me@db/alexsearch
    """
    from search.host import RunError, RunRequest, on_bundled, run_search
    from search.live import Screen
    from search.space import load_space
    from search.summary import best_trials, print_outcome

    loaded = load_space(space).with_overrides(trials=trials, seed=seed, name=study)
    if data in BUNDLED_IMAGES:
        loaded = on_bundled(loaded, data)
    elif data:
        loaded = loaded.with_overrides(source=data)
    console = _console()
    request = RunRequest(
        space=loaded,
        home=Home(home),
        storage=_open(home, storage, create=True),
        add=add or 0,
        workers=workers,
        digits_without_download=space == "quick" and data is None,
    )
    stopping = _Stopping(request.storage)
    with stopping:
        try:
            with Screen(console) as screen:
                for trial in best_trials(request.storage, loaded.study.name, 1):
                    screen.best_so_far(trial.value or 0.0, trial.number)
                outcome = run_search(request, screen, stopping.event)
        except RunError as error:
            _fail(str(error), EXIT_FAILED)
        except KeyboardInterrupt:
            raise SystemExit(stopping.code) from None
    print_outcome(console, request.storage, outcome, home)
    if outcome.interrupted:
        raise SystemExit(stopping.code)


class _Stopping:
    """SIGINT and SIGTERM: the first asks for an end that gives the trials back, the second ends at once."""

    def __init__(self, storage: Storage) -> None:
        self.event = threading.Event()
        self.code = EXIT_INTERRUPTED
        self._storage = storage

    def __enter__(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._signalled)

    def __exit__(self, *_: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)

    def _signalled(self, number: int, _frame: FrameType | None) -> None:
        self.code = 128 + number
        if self.event.is_set():
            import os

            # The trials stay as they are: the next run sees that this process is gone, and puts them back.
            os._exit(self.code)
        self.event.set()
        # What waits for a database that is away must not outlast the grace of whoever sent the signal.
        timer = threading.Timer(20.0, self._storage.giving_up.set)
        timer.daemon = True
        timer.start()


@main.command()
@_study_option
@_storage_options
@_json_option
def status(study: str | None, home: Path, storage: str | None, as_json: bool) -> None:
    """Show how a study stands: budget, counts, best, who works on it.

    JSON keys: study, budget, counts (waiting, running, complete, pruned, failed, retried), best (number, value, params;
    null without a complete trial), slots (host, device, trial, epoch, images_per_second, age_seconds, stale), storage.

    \b
    alexsearch status
    alexsearch status --study quick --json
    """
    from search.summary import print_status, status_document

    document = status_document(_open(home, storage), study)
    if as_json:
        _print_json(document)
    else:
        print_status(_console(), document)


@main.command()
@_study_option
@_storage_options
@_json_option
def best(study: str | None, home: Path, storage: str | None, as_json: bool) -> None:
    """Show the best complete trial of a study.

    JSON keys: study, number, value (val_accuracy of its last epoch), params (what was sampled), config (all of it),
    epochs_run, seconds, device, data_fingerprint, versions, git_commit.

    \b
    alexsearch best
    alexsearch best --json | jq .config
    """
    from search.summary import best_document, print_best

    opened = _open(home, storage)
    document = best_document(opened, study)
    if as_json:
        _print_json(document)
    else:
        print_best(_console(), opened, document)


@main.command()
@_storage_options
@_json_option
def studies(home: Path, storage: str | None, as_json: bool) -> None:
    """List the studies of a database.

    JSON: a list with, for each, study, budget, counts and best as in `status`.

    \b
    alexsearch studies
    alexsearch studies --storage postgresql://me@db/alexsearch --json
    """
    from search.summary import print_studies, studies_document

    opened = _open(home, storage)
    document = studies_document(opened)
    if as_json:
        _print_json(document)
    else:
        print_studies(_console(), opened, document)


@main.command()
@_study_option
@_storage_options
@click.option("--trial", type=click.IntRange(min=0), metavar="N", help="Number of the trial; the best by default.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="File to write.")
def export(study: str | None, home: Path, storage: str | None, trial: int | None, output: Path) -> None:
    """Write a trial's configuration as a recipe, a TOML file that `retrain` needs nothing else for.

    \b
    alexsearch export -o best.toml
    alexsearch export --study quick --trial 3 -o third.toml
    """
    from search.exporting import export_recipe

    recipe = export_recipe(_open(home, storage), study, trial, output)
    click.echo(f"trial {recipe.trial} of study {recipe.study}, val_accuracy {recipe.value:.4f}: {output}")
    click.echo(f"next: alexsearch retrain {output}")


@main.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--seeds", type=click.IntRange(1, 100), default=1, show_default=True, help="How many networks to train.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder to write to; in HOME by default.")
@click.option("--data", metavar="SOURCE", envvar="ALEXSEARCH_DATA", show_envvar=True, help="The recipe's by default.")
@_home_option
def retrain(recipe: Path, seeds: int, out: Path | None, data: str | None, home: Path) -> None:
    """Train a recipe on all training images, then open the test set.

    Writes a .keras model per seed, metrics.json, the loss and accuracy curves, the score, accuracy by class and the
    confusion matrix. Interrupted, it goes on where it was.

    \b
    alexsearch retrain best.toml
    alexsearch retrain best.toml --seeds 5 --out verified
    """
    from search.retrain import retrain_recipe

    retrain_recipe(recipe, seeds=seeds, out=out, source=data, home=Home(home), console=_console())


@main.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--data",
    metavar="SOURCE",
    envvar="ALEXSEARCH_DATA",
    show_envvar=True,
    default="cifar10",
    show_default=True,
    help="cifar10, digits, synthetic, a .npz file or an image folder: its test images.",
)
@_home_option
@_json_option
def evaluate(model: Path, data: str, home: Path, as_json: bool) -> None:
    """Measure a trained model on the test images.

    JSON keys: model, data, images, accuracy, loss, classes (name: accuracy), confusion (rows are the true class).

    \b
    alexsearch evaluate runs/quick/retrain/trial-00003/seed-0.keras
    """
    from search.retrain import evaluate_model, print_evaluation

    document = evaluate_model(model, data, Home(home))
    if as_json:
        _print_json(document)
    else:
        print_evaluation(_console(), document)


@main.command()
@_study_option
@_storage_options
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 takes a free one.")
@click.option("--allow-edits", is_flag=True, help="Let the page change studies: notes, names, deletions.")
@click.option(
    "--password-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help=("File with the password to ask for; or ALEXSEARCH_DASHBOARD_PASSWORD. Needed off loopback."),
)
@click.option("--allow-host", "extra_hosts", multiple=True, metavar="NAME", help="Another name it is reached by.")
def dashboard(
    study: str | None,
    home: Path,
    storage: str | None,
    host: str,
    port: int,
    allow_edits: bool,
    password_file: Path | None,
    extra_hosts: tuple[str, ...],
) -> None:
    """Serve optuna-dashboard over the study's database. Ctrl-C ends it.

    \b
    alexsearch dashboard
    alexsearch dashboard --study quick --port 9000
    alexsearch dashboard --host 0.0.0.0 --password-file secret --allow-host gpu7.example.org
    """
    from search.serving import serve_dashboard

    serve_dashboard(
        _open(home, storage),
        study=study,
        host=host,
        port=port,
        allow_edits=allow_edits,
        password_file=password_file,
        extra_hosts=extra_hosts,
    )


@main.command()
@_storage_options
@click.option(
    "--data",
    metavar="SOURCE",
    envvar="ALEXSEARCH_DATA",
    show_envvar=True,
    default="cifar10",
    show_default=True,
    help="Data to look for.",
)
@_json_option
def doctor(home: Path, storage: str | None, data: str, as_json: bool) -> None:
    """Say what was found (TensorFlow, GPUs, precision, data, storage) and what is wrong, with the way out.

    JSON keys: healthy, findings (a list of topic, ok, found, way_out). Exit code 1 where something is wrong.

    \b
    alexsearch doctor
    """
    from search.doctor import examine, print_findings

    findings = examine(Home(home), storage, data)
    healthy = all(finding.ok for finding in findings)
    if as_json:
        _print_json({"healthy": healthy, "findings": [finding.as_dict() for finding in findings]})
    else:
        print_findings(_console(), findings)
    sys.exit(0 if healthy else EXIT_FAILED)


if __name__ == "__main__":
    main()
