"""The dashboard as a command, and beside a run."""

from __future__ import annotations

import contextlib
import functools
import gc
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import click

from search.base.artifacts import Artifacts
from studies.record.catalog import StudyError, find_study, trial_by_number
from studies.show.dashboard import DEFAULT_PORT, DashboardError, read_password, read_token, serve, serving
from studies.store.storage import Storage

SHORT_PASSWORD = 12
PAGE_PATIENCE_SECONDS = 5.0
"""A page that waits longer for a database that is away holds a thread of the server: better it says so."""


def serve_dashboard(
    storage: Storage,
    artifacts: Path,
    *,
    study: str | None,
    host: str,
    port: int,
    allow_edits: bool,
    password_file: Path | None,
    token_file: Path | None,
    extra_hosts: Collection[str],
    trusted_proxy: str | None,
) -> None:
    """Serve until Ctrl-C or SIGTERM, with the artifacts of trials kept in the folder `artifacts`.

    Raises DashboardError or StudyError where it can't start as asked.
    """
    # The trials of a large study are a million objects without a cycle among them, which the collector's defaults look
    # at again and again while they are read: 10,000 trials took 1.4 s of a processor, and take 0.7 s.
    gc.set_threshold(100_000, 20, 100)
    name = find_study(storage, study).name if study else None
    storage.patiently.seconds = PAGE_PATIENCE_SECONDS
    secrets = {"password": read_password(password_file), "token": read_token(token_file)}
    for what, secret in secrets.items():
        if secret is not None and len(secret) < SHORT_PASSWORD:
            click.echo(f"The {what} is short, so it can be guessed. `openssl rand -hex 24` makes a good one.", err=True)

    def ready(url: str) -> None:
        click.echo(f"dashboard: {url}  (Ctrl-C ends it)")

    serve(
        storage,
        host=host,
        port=port,
        study=name,
        **secrets,
        allow_edits=allow_edits,
        extra_hosts=extra_hosts,
        trusted_proxy=trusted_proxy,
        artifact_store=Artifacts(storage, artifacts),
        recipe=recipe_text(storage),
        ready=ready,
    )


@contextlib.contextmanager
def dashboard_beside(storage: Storage, artifacts: Path) -> Iterator[str]:
    """The dashboard for as long as a run lasts, read-only and on this machine only. Gives what to tell the user of it.

    `storage` is its own, not the run's. Where port 8080 is taken, a free one is. Raises DashboardError if none is.
    """
    storage.patiently.seconds = PAGE_PATIENCE_SECONDS
    serve_at = functools.partial(
        serving,
        storage,
        password=read_password(None),
        token=read_token(None),
        artifact_store=Artifacts(storage, artifacts),
        recipe=recipe_text(storage),
    )
    with contextlib.ExitStack() as stack:
        note = ""
        try:
            url = stack.enter_context(serve_at(port=DEFAULT_PORT))
        except DashboardError:
            url = stack.enter_context(serve_at(port=0))
            note = f"; port {DEFAULT_PORT} is taken"
        yield f"dashboard: {url}  (ends with this run{note})"


def recipe_text(storage: Storage) -> Callable[[str, int, str], str]:
    """What a page's Export gives: study name, trial number and file name to the text of the recipe."""

    def text(study: str, number: int, name: str) -> str:
        from search.base.mistakes import InputError
        from search.retraining.recipe import recipe_toml
        from search.retraining.recipes import recipe_of

        record = find_study(storage, study)
        try:
            return recipe_toml(recipe_of(storage, record, trial_by_number(storage, record, number)), name)
        except InputError as error:
            raise StudyError(str(error)) from None

    return text
