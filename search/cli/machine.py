"""Commands about this machine: the dashboard that it serves, and what it has for a search."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from search.cli.options import (
    EXIT_FAILED,
    console,
    data_option,
    json_option,
    open_database,
    print_json,
    remark_open,
    storage_options,
)

if TYPE_CHECKING:
    from studies.store.storage import Storage

PAGE_CONNECTIONS = 4
"""Of a dashboard to Postgres: the threads that serve its pages take turns."""


@click.command()
@click.option("--study", metavar="NAME", show_default="the list of all", help="Study whose page to open.")
@storage_options
@click.option("--host", default="127.0.0.1", metavar="H", show_default=True, help="Address to listen at.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, metavar="P", show_default=True, help="0 takes a free one."
)
@click.option(
    "--allow-edits",
    is_flag=True,
    help="Let the pages change studies: stop, continue, notes, names, deletions.",
)
@click.option(
    "--password-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    show_default="the variable ALEXSEARCH_DASHBOARD_PASSWORD",
    help="File whose first line is the password to ask for. Off loopback, one is needed.",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    show_default="the variable ALEXSEARCH_DASHBOARD_TOKEN",
    help="File whose first line scripts may send as a bearer token.",
)
@click.option("--allow-host", "extra_hosts", multiple=True, metavar="NAME", help="Another name it is reached by.")
@click.option(
    "--trusted-proxy",
    metavar="ADDRESS",
    show_default="none",
    help="Believe this reverse proxy's X-Forwarded-For and -Proto: who asks, and whether by TLS.",
)
def dashboard(
    study: str | None,
    home: Path,
    storage: str | None,
    host: str,
    port: int,
    allow_edits: bool,
    password_file: Path | None,
    token_file: Path | None,
    extra_hosts: tuple[str, ...],
    trusted_proxy: str | None,
) -> None:
    """Serve our pages and optuna-dashboard over the studies of a database. Ctrl-C ends it.

    The first page lists the studies. Each has a live view, its trials one by one or up to eight on one chart, and its
    best configuration to export; with --allow-edits, it can be stopped and continued there. Logins and edits are
    written to the log of this host in the home.

    \b
    alexsearch dashboard
    alexsearch dashboard --study quick --port 9000
    alexsearch dashboard --host 0.0.0.0 --password-file secret --allow-host gpu7.example.org
    """
    from search.base.home import Home
    from search.base.logs import keep_log
    from search.screen.serving import serve_dashboard

    opened = _served(home, storage, read_only=not allow_edits)
    with contextlib.suppress(OSError):  # the log of logins and edits lies there, also where the database does not
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    keep_log(Home(home).log_file, verbose=False)
    for what, file in (("password file", password_file), ("token file", token_file)):
        if file is not None:
            remark_open(what, file)
    serve_dashboard(
        opened,
        Home(home).artifacts,
        study=study,
        host=host,
        port=port,
        allow_edits=allow_edits,
        password_file=password_file,
        token_file=token_file,
        extra_hosts=extra_hosts,
        trusted_proxy=trusted_proxy,
    )


def _served(home: Path, storage: str | None, *, read_only: bool) -> Storage:
    """The database to serve. A dashboard may come up before the first worker: it builds an empty server's tables."""
    from studies.store.errors import NothingYetError
    from studies.store.urls import storage_url

    try:
        return open_database(home, storage, read_only=read_only, connections=PAGE_CONNECTIONS)
    except NothingYetError:
        if storage_url(storage, home).get_backend_name() == "sqlite":
            raise
    open_database(home, storage).engine.dispose()
    return open_database(home, storage, read_only=read_only, connections=PAGE_CONNECTIONS)


@click.command()
@storage_options
@data_option("cifar10")
@json_option
def doctor(home: Path, storage: str | None, data: str, as_json: bool) -> None:
    """Say what a search would find here, and what is wrong.

    Looked at: versions, surroundings, GPUs, TensorFlow, precision, data (cifar10 is downloaded where it is not
    there yet), home, storage; with the way out where something is amiss.

    JSON keys: healthy, findings (a list of topic, ok, found, way_out). Exit code 1 where something is wrong.

    \b
    alexsearch doctor
    """
    from search.base.home import Home
    from search.run.doctor import examine, print_findings

    findings = examine(Home(home), storage, data)
    healthy = all(finding.ok for finding in findings)
    if as_json:
        print_json({"healthy": healthy, "findings": [finding.as_dict() for finding in findings]})
    else:
        print_findings(console(), findings)
    sys.exit(0 if healthy else EXIT_FAILED)


MACHINE: Final = (dashboard, doctor)
