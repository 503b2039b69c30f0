"""The dashboard as a command."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import click

from search.artifacts import Artifacts
from studies.catalog import find_study
from studies.dashboard import read_password, serve
from studies.storage import Storage

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
    extra_hosts: Collection[str],
) -> None:
    """Serve until Ctrl-C or SIGTERM, with the artifacts of trials kept in the folder `artifacts`.

    Raises DashboardError or StudyError where it can't start as asked.
    """
    name = find_study(storage, study).name if study else None
    storage.patience_seconds = PAGE_PATIENCE_SECONDS

    def ready(url: str) -> None:
        click.echo(f"dashboard: {url}  (Ctrl-C ends it)")

    serve(
        storage,
        host=host,
        port=port,
        study=name,
        password=read_password(password_file),
        allow_edits=allow_edits,
        extra_hosts=extra_hosts,
        artifact_store=Artifacts(storage, artifacts),
        ready=ready,
    )
