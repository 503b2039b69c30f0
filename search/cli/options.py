"""What the commands share: their options, the opening of the database, and errors as messages with an exit code.

Nothing but click is imported until a command runs: `--help` answers in a tenth of a second.
"""

from __future__ import annotations

import errno
import json
import math
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

if TYPE_CHECKING:
    from search.base.terminal import Output
    from studies.store.storage import Storage

Command = TypeVar("Command", bound=Callable[..., Any])

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130
DEFAULT_HOME = Path("runs")
PASSWORD_FILE = "ALEXSEARCH_STORAGE_PASSWORD_FILE"  # noqa: S105 - where one is
OTHERS = "Name another with --study: `alexsearch studies` says which are ours."


class Commands(click.Group):
    """Turns the errors that a user can mend into a message on standard error and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        from search.base.terminal import drop_output, tolerate_any_text

        tolerate_any_text()
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            fail("interrupted", EXIT_INTERRUPTED)
        except BrokenPipeError:  # whoever read this has had enough
            drop_output()
            return None
        except _wrong_inputs() as error:
            fail(str(error), EXIT_USAGE)
        except _failures() as error:
            drop_output()
            too_long = getattr(error, "errno", None) == errno.ENAMETOOLONG
            fail(_told(error), EXIT_USAGE if too_long else EXIT_FAILED)


def _wrong_inputs() -> tuple[type[Exception], ...]:
    # Called, and its imports paid for, only where something was raised.
    from model.config import DataError, ModelError
    from search.base.mistakes import InputError
    from studies.record.catalog import StudyError
    from studies.show.dashboard import DashboardError
    from studies.store.errors import StorageError

    return InputError, DataError, ModelError, StudyError, StorageError, DashboardError


def _failures() -> tuple[type[Exception], ...]:
    from model.config import ExportError, TrainError

    return ExportError, TrainError, OSError


def _told(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def fail(message: str, code: int) -> NoReturn:
    """End the command with a message on standard error."""
    click.echo(f"alexsearch: {message}", err=True)
    raise SystemExit(code)


class Space(click.types.StringParamType):
    """A preset's name or a file, completed by the shell and told where it is missing."""

    name = "space"

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None) -> str:
        from search.space.files import list_presets

        del param, ctx
        presets = ", ".join(preset.name for preset in list_presets())
        return f"Say what to search: a preset ({presets}) or a TOML file, e.g. alexsearch run quick."

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        from search.space.files import list_presets

        item = click.shell_completion.CompletionItem
        presets = [item(preset.name, help=preset.question) for preset in list_presets()]
        files = click.Path().shell_complete(ctx, param, incomplete)
        return [preset for preset in presets if preset.value.startswith(incomplete)] + files


def _checked_home(_ctx: click.Context, _param: click.Parameter, home: Path) -> Path:
    """Refuse a home where a file stands in the way, before anything else is said about what is missing in it."""
    try:
        str(home.absolute()).encode()
    except UnicodeEncodeError:  # undecodable bytes arrive as lone surrogates, which no database URL can hold
        raise click.UsageError(
            f"home {str(home)!a}: is not valid UTF-8 here. Name another folder with --home or ALEXSEARCH_HOME, or "
            "work in a UTF-8 locale (LC_ALL=C.UTF-8)."
        ) from None
    try:
        in_the_way = next((path for path in (home, *home.parents) if path.exists() and not path.is_dir()), None)
    except OSError as error:
        shown = str(home) if len(str(home)) <= 80 else f"{str(home)[:80]}..."
        raise click.UsageError(
            f"home {shown}: can't be used ({error.strerror}). Name another folder with --home or ALEXSEARCH_HOME."
        ) from None
    if in_the_way:
        raise click.UsageError(
            f"home {home}: a file is in the way, {in_the_way}. Name another folder with --home or ALEXSEARCH_HOME."
        )
    return home


def home_option(command: Command) -> Command:
    """--home"""
    option = click.option(
        "--home",
        metavar="DIR",
        type=click.Path(path_type=Path),
        callback=_checked_home,
        default=DEFAULT_HOME,
        envvar="ALEXSEARCH_HOME",
        show_envvar=True,
        show_default=True,
        help="Folder of the SQLite file, checkpoints, logs and exports.",
    )
    return option(command)


def storage_options(command: Command) -> Command:
    """--home and --storage"""
    storage = click.option(
        "--storage",
        metavar="URL",
        envvar="ALEXSEARCH_STORAGE",
        show_envvar=True,
        show_default="sqlite:///HOME/alexsearch.db",
        help="postgresql://USER@HOST/DATABASE or sqlite:///FILE. A password belongs in ALEXSEARCH_STORAGE, or in the "
        "file that ALEXSEARCH_STORAGE_PASSWORD_FILE names: other users of this machine can read a command line.",
    )
    return home_option(storage(command))


def study_option(command: Command) -> Command:
    """--study, of a study that is there"""
    option = click.option("--study", metavar="NAME", show_default="the only one there is", help="Which study.")
    return option(command)


def json_option(command: Command) -> Command:
    """--json"""
    option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
    return option(command)


def data_option(default: str, *, help_end: str = "") -> Callable[[Command], Command]:
    """--data; `default` is shown, and given where it names a source."""
    is_source = default == "cifar10"
    return click.option(
        "--data",
        metavar="SOURCE",
        envvar="ALEXSEARCH_DATA",
        show_envvar=True,
        default=default if is_source else None,
        show_default=True if is_source else default,
        help=f"cifar10, digits, synthetic, an image folder, a .npz or .parquet file, or CIFAR's archive{help_end}. Of "
        "a source with fewer images, as many as fit.",
    )


def _number_or_auto(_ctx: click.Context, _param: click.Parameter, given: str) -> int | None:
    if given == "auto":
        return None
    if given.isdecimal() and int(given) >= 1:
        return int(given)
    raise click.BadParameter(f'must be a number from 1, or auto, but is "{given}".')


def finite(_ctx: click.Context, _param: click.Parameter, given: float) -> float:
    """A callback of options: refuses nan, which click's ranges let through."""
    if math.isfinite(given):
        return given
    raise click.BadParameter(f"must be a finite number, but is {given}.")


gpus_option = click.option(
    "--gpus", default="all", show_default=True, metavar="WHICH", help="all, none, or indices as in 0,2."
)
trials_per_gpu_option = click.option(
    "--trials-per-gpu",
    default="1",
    show_default=True,
    metavar="K",
    callback=_number_or_auto,
    help="How many share one GPU, each with its part of the memory; auto chooses by its memory.",
)


def timeout_option(default: str) -> Callable[[Command], Command]:
    """--timeout; `default` says what holds without it."""
    return click.option(
        "--timeout",
        metavar="TIME",
        show_default=default,
        help="End this run after so long, as in 90s, 30m or 2h. Running trials go back into the queue.",
    )


def _seconds(_ctx: click.Context, _param: click.Parameter, given: str | None) -> float:
    from search.space.budget import seconds_of

    try:
        return seconds_of(given) if given else 0.0
    except ValueError as error:
        raise click.BadParameter(f'{error}, but is "{given}".') from None


def wait_option(what: str) -> Callable[[Command], Command]:
    """--wait, in seconds; `what` is waited for."""
    return click.option(
        "--wait",
        "wait_seconds",
        metavar="TIME",
        callback=_seconds,
        show_default="not",
        help=f"Wait so long for {what}, as in 90s or 10m.",
    )


skip_unreadable_option = click.option(
    "--skip-unreadable", is_flag=True, help="Pass over pictures that can't be decoded, naming them."
)
force_option = click.option(
    "--force", is_flag=True, help="Replace what is there already, even if alexsearch did not write it."
)


def code_option(default: str) -> Callable[[Command], Command]:
    """Where user code lies on this host."""
    return click.option(
        "--code",
        type=click.Path(path_type=Path, exists=True, file_okay=False),
        metavar="DIR",
        show_default=default,
        help="Folder of the file of a network or a training of one's own.",
    )


mlflow_option = click.option(
    "--mlflow",
    metavar="URI",
    show_default="not told",
    help="Keep an experiment of this MLflow tracking server up to date with the study.",
)
tensorboard_option = click.option(
    "--tensorboard",
    type=click.Path(path_type=Path),
    metavar="DIR",
    show_default="not written",
    help="Write the trials for TensorBoard, too: curves and hyperparameters, below DIR/STUDY.",
)
files_option = click.option(
    "--files",
    metavar="URL",
    envvar="ALEXSEARCH_FILES",
    show_envvar=True,
    show_default="each host's own",
    help="s3://BUCKET/PREFIX, or a folder that all hosts share. The study's checkpoints, artifacts and logs are kept "
    "there, so that a trial goes on at its last epoch on another host. Workers need not be told.",
)
verbose_option = click.option(
    "-v", "--verbose", is_flag=True, help="Print what goes to the log below --home, to standard error."
)
workers_option = click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    show_default="one for each place on a GPU, or one on the CPU",
    help="Trials at a time.",
)


def open_database(
    home: Path,
    storage: str | None,
    *,
    create: bool = False,
    read_only: bool = False,
    connections: int = 1,
    option: str = "storage",
    password_files: Sequence[str] = (PASSWORD_FILE,),
    wait_seconds: float = 0.0,
) -> Storage:
    """The database that the options name. Raises StorageError if it can't be used.

    `read_only` is for commands that only read: see `studies.store.opening.open_storage`. `option` is the one that names
    the database, `password_files` the variables that may name the file of its password. One that does not answer is
    waited for `wait_seconds`, or for a few seconds in any case.
    """
    from studies.store.opening import OPENING_PATIENCE_SECONDS, open_storage
    from studies.store.urls import has_password, storage_url

    url = storage_url(storage, home, password_files)
    if storage and typed(option) and has_password(storage):
        parameter = next(each for each in click.get_current_context().command.params if each.name == option)
        click.echo(
            f"alexsearch: {parameter.opts[0]} carries a password, which other users of this machine can read. "
            f"Put the URL into {parameter.envvar} instead.",
            err=True,
        )

    def waiting(what: str) -> None:
        click.echo(f"alexsearch: {what}", err=True)

    longer = {"opening_patience_seconds": wait_seconds} if wait_seconds > OPENING_PATIENCE_SECONDS else {}
    opened = open_storage(url, create=create, read_only=read_only, connections=connections, waiting=waiting, **longer)
    if not create:  # a run says so in its log
        opened.patiently.waiting = waiting
    if url.get_backend_name() == "sqlite":
        remark_open("database", Path(url.database or ""))
    elif file := next((os.environ[each] for each in password_files if os.environ.get(each)), ""):
        remark_open("password file", Path(file))
    return opened


def remark_open(what: str, file: Path) -> None:
    """Say on standard error that other users can read a file that is not meant for them."""
    from search.base.terminal import open_to_others
    from search.base.toml import as_shown

    if open_to_others(file):
        click.echo(
            f"alexsearch: the {what} {as_shown(file)} can be read by other users. Change it: chmod 600", err=True
        )


def typed_options(home: Path, storage: Storage | None = None, data: str | None = None) -> str:
    """--home, --storage and --data as a next command needs them: as they were typed.

    What the environment said still stands there. Never holds a password. Starts with a blank,
    or is empty.
    """
    words = f" --home {shlex.quote(str(home))}" if typed("home") else ""
    if storage and typed("storage"):
        words += f" --storage {shlex.quote(storage.name)}"
    if data and typed("data"):
        words += f" --data {shlex.quote(data)}"
    return words


def typed(parameter: str) -> bool:
    """Whether an option was given on the command line."""
    source = click.get_current_context().get_parameter_source(parameter)
    return source is click.core.ParameterSource.COMMANDLINE


def console(*, quiet: bool = False) -> Output:
    """Standard output for people; `quiet` prints nothing."""
    from search.base.terminal import Output

    return Output(quiet=quiet)


def print_json(document: Any) -> None:
    """One JSON document on standard output. Numbers that JSON lacks (infinity, NaN) become null."""
    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower().replace("-", "")
    click.echo(json.dumps(_finite(document), indent=2, ensure_ascii=encoding != "utf8", allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
