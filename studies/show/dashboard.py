"""optuna-dashboard over our storage and our own pages beside it, behind `studies.show.guard`, on one port.

Who may reach it: on a loopback address every user of this machine, without a password; on any other address only with
one. Read-only unless edits are asked for. optuna-dashboard, Bottle and waitress are imported when a server is made, so
importing this module costs nothing; TensorFlow is never imported.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import math
import os
import signal
import socket
import threading
import types
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypedDict, Unpack

from studies.show.guard import guard
from studies.show.login import Login, Password
from studies.store.secret_file import read_secret

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

    from optuna.artifacts._protocol import ArtifactStore
    from optuna.storages import BaseStorage

    from studies.show.pages.site import RecipeText
    from studies.store.cache import AllTrials
    from studies.store.storage import Storage

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8080
KEPT_SECONDS = 1.0
"""Of a page that was made: open pages ask every two seconds, and fifty of them took half a processor from a run."""
PASSWORD_VARIABLE = "ALEXSEARCH_DASHBOARD_PASSWORD"  # noqa: S105 (its name, not its value)

TOKEN_VARIABLE = "ALEXSEARCH_DASHBOARD_TOKEN"  # noqa: S105


class DashboardError(Exception):
    """The dashboard can't start as asked. The message says what, where, why and the way out."""


def read_password(password_file: Path | None, environ: Mapping[str, str] = os.environ) -> str | None:
    """The dashboard's password: the file's first line, else the environment's, else None.

    It is never taken from the command line, where `ps` shows it to every user. Raises DashboardError when the file
    can't be read or holds no password.
    """
    return _read_secret("password", password_file, environ.get(PASSWORD_VARIABLE))


def read_token(token_file: Path | None, environ: Mapping[str, str] = os.environ) -> str | None:
    """The token that scripts may send in place of the password, from where and as `read_password`."""
    return _read_secret("token", token_file, environ.get(TOKEN_VARIABLE))


def _read_secret(what: str, file: Path | None, otherwise: str | None) -> str | None:
    if file is None:
        return otherwise or None
    try:
        lines = read_secret(file).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DashboardError(f"{file}: the dashboard's {what} can't be read: {error}.") from error
    if not lines or not lines[0].strip():
        raise DashboardError(f"{file}: the first line is empty. Write the dashboard's {what} there.")
    return lines[0]


def build_app(
    storage: Storage,
    *,
    hosts: Collection[str],
    password: str | None = None,
    token: str | None = None,
    allow_edits: bool = False,
    artifact_store: ArtifactStore | None = None,
    recipe: RecipeText | None = None,
    cached: AllTrials | None = None,
    kept_seconds: float = 0.0,
) -> WSGIApplication:
    """The guarded WSGI application; loopback names are always among its `hosts`.

    Of our pages, one that was made answers all who ask for it within `kept_seconds`.
    `recipe` writes what Export gives. Both halves read trials through one cache (`cached`, if given), which asks the
    database only for what changed. Raises ValueError on an empty password or token.
    """
    from optuna_dashboard import wsgi

    from studies.show.pages.site import build_pages, login_page, with_pages
    from studies.show.requests import CheckedArtifacts, checked
    from studies.store.cache import AllTrials

    _ask_python_instead_of_numpy()
    cached = cached or AllTrials(storage)
    theirs = wsgi(cached, artifact_store=None if artifact_store is None else CheckedArtifacts(artifact_store))
    login = None
    if password is not None or token is not None:
        known = [secret for secret in (password, token) if secret is not None]
        login = Login(Password(*known), login_page)
    pages = build_pages(
        storage,
        cached,
        allow_edits=allow_edits,
        asks_password=login is not None,
        recipe=recipe,
        kept_seconds=kept_seconds,
    )
    return guard(
        with_pages(checked(theirs, storage), pages),
        hosts=hosts,
        login=login,
        allow_edits=allow_edits,
        healthy=lambda: _storage_answers(storage),
    )


def _ask_python_instead_of_numpy() -> None:
    """Let optuna-dashboard build its page of 10,000 trials in 0.6 s of a processor instead of 1.3 s.

    It asks numpy four times about each reported number, of which there are hundreds of thousands, whether it is finite;
    for a single float, Python answers at a tenth of the cost. tests/test_dashboard.py checks that it still asks so.
    """
    from optuna_dashboard import _serializer

    _serializer.np = types.SimpleNamespace(
        isnan=math.isnan,
        isfinite=math.isfinite,
        isposinf=lambda value: value == math.inf,
        isneginf=lambda value: value == -math.inf,
    )


class Asked(TypedDict, total=False):
    """How to serve; each has a default."""

    host: str
    port: int
    """0 takes a free one."""
    study: str | None
    """The study whose page is opened; None for the list of studies."""
    password: str | None
    token: str | None
    """What scripts may send in place of the password."""
    allow_edits: bool
    extra_hosts: Collection[str]
    """Names that a reverse proxy asks for."""
    trusted_proxy: str | None
    """Address of a reverse proxy, which tells by X-Forwarded-For and X-Forwarded-Proto who asks, and how."""
    artifact_store: ArtifactStore | None
    recipe: RecipeText | None


def serve(storage: Storage, *, ready: Callable[[str], None], **asked: Unpack[Asked]) -> None:
    """Serves until SIGINT (Ctrl-C) or SIGTERM, then returns. Call it from the main thread.

    `ready` gets the URL to open once the port accepts connections.
    Raises DashboardError when the address can't be bound, the study doesn't exist, or a password is missing.
    """
    server, url = _bind(storage, **asked)
    previous = signal.signal(signal.SIGTERM, _exit)
    try:
        ready(url)
        server.run()  # waitress returns from here on KeyboardInterrupt and SystemExit
    except (KeyboardInterrupt, SystemExit):  # the signal came within `ready`
        server.task_dispatcher.shutdown()
    finally:
        signal.signal(signal.SIGTERM, previous)
        server.close()


@contextlib.contextmanager
def serving(storage: Storage, **asked: Unpack[Asked]) -> Iterator[str]:
    """The same server in a thread of its own, for as long as the `with` block lasts. Gives the URL to open."""
    from waitress import wasyncore

    server, url = _bind(storage, **asked)
    thread = threading.Thread(target=server.run, name="dashboard", daemon=True)
    thread.start()
    try:
        yield url
    finally:
        # Sockets are closed by the thread that waits on them: closed from here, its select() would raise EBADF.
        # Woken by the end of a request, it may have closed them before the trigger is pulled.
        with contextlib.suppress(OSError):
            server.trigger.pull_trigger(lambda: wasyncore.close_all(server._map))
        thread.join(timeout=10)
        server.task_dispatcher.shutdown()


def _bind(
    storage: Storage,
    *,
    host: str = DEFAULT_HOST,
    port: int = DEFAULT_PORT,
    study: str | None = None,
    password: str | None = None,
    token: str | None = None,
    allow_edits: bool = False,
    extra_hosts: Collection[str] = (),
    trusted_proxy: str | None = None,
    artifact_store: ArtifactStore | None = None,
    recipe: RecipeText | None = None,
) -> tuple[Any, str]:
    from studies.show.server import make_server
    from studies.store.cache import AllTrials

    if trusted_proxy is not None:
        trusted_proxy = _as_address(trusted_proxy)
    page = "/" if study is None else f"/studies/{_study_id(storage, study)}"
    cached = AllTrials(storage)
    listener = _listen(host, port)
    try:
        address, port = listener.getsockname()[:2]
        if password is None and token is None:
            _require_loopback(host, address, port)
        names = {host, address, *extra_hosts}
        if ipaddress.ip_address(address).is_unspecified:
            names |= {socket.gethostname(), socket.getfqdn()}
        app = build_app(
            storage,
            hosts=names,
            password=password,
            token=token,
            allow_edits=allow_edits,
            artifact_store=artifact_store,
            recipe=recipe,
            cached=cached,
            kept_seconds=KEPT_SECONDS,
        )
        server = make_server(app, listener, trusted_proxy=trusted_proxy)
    except BaseException:
        listener.close()
        raise
    threading.Thread(target=_warm, args=(storage, cached, study), name="dashboard-cache", daemon=True).start()
    shown = DEFAULT_HOST if ipaddress.ip_address(address).is_unspecified else host
    return server, f"http://{f'[{shown}]' if ':' in shown else shown}:{port}{page}"


def _warm(storage: Storage, cached: AllTrials, study: str | None) -> None:
    """Read the trials that are asked for first, of the named study or the newest, while the browser still starts."""
    with contextlib.suppress(Exception):  # a page that needs them says what is wrong
        newest = max((each._study_id for each in storage.get_all_studies()), default=None)
        study_id = newest if study is None else _study_id(storage, study)
        if study_id is not None:
            cached.get_all_trials(study_id, deepcopy=False)


def _as_address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise DashboardError(
            f"The trusted proxy {text!r} is no IP address. Give the one that its connections come from, e.g. 127.0.0.1."
        ) from None


def _require_loopback(host: str, address: str, port: int) -> None:
    if not ipaddress.ip_address(address).is_loopback:
        raise DashboardError(
            f"Binding the dashboard to {host} lets the whole network read the studies, so it needs a password. Put one "
            f"into a file and give --password-file FILE, or set {PASSWORD_VARIABLE}; or stay on {DEFAULT_HOST} and "
            f"reach it from elsewhere by `ssh -L {port}:{DEFAULT_HOST}:{port} THIS_MACHINE`."
        )


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:  # getaddrinfo would take it modulo 65536
        raise DashboardError(f"Port {port} does not exist: they go from 1 to 65535. Try --host 127.0.0.1 --port 8080.")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise DashboardError(
            f"{host}:{port} is not an address of this machine: {error}. Try --host 127.0.0.1."
        ) from error
    family, kind, _, _, address = found[0]
    listener = socket.socket(family, kind)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()  # here, so that a taken port is noticed before anything is announced
    except OSError as error:
        listener.close()
        raise DashboardError(_why_not_bound(host, port, error)) from error
    return listener


def _why_not_bound(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} on {host} is taken, perhaps by another dashboard. Open that one, or give --port NUMBER "
            "(--port 0 takes any free one)."
        )
    if error.errno == errno.EACCES:
        return f"Port {port} may not be opened by this user: those below 1024 belong to root. Give --port 8080 or so."
    return f"The dashboard can't listen on {host}:{port}: {error}. Try --host 127.0.0.1 and --port 0."


def _study_id(storage: BaseStorage, name: str) -> int:
    try:
        return storage.get_study_id_from_name(name)
    except KeyError:
        names = sorted(study.study_name for study in storage.get_all_studies())
        known = (
            f"There are: {', '.join(names)}." if names else "The storage holds no study yet: `alexsearch run quick`."
        )
        raise DashboardError(f"There is no study named {name!r}. {known}") from None


def _storage_answers(storage: BaseStorage) -> bool:
    # One SELECT over an indexed column, however large the studies are. No study has an empty name.
    try:
        storage.get_study_id_from_name("")
    except KeyError:
        return True
    except Exception:  # noqa: BLE001 (whatever went wrong, the answer is no; health checks don't end a server)
        return False
    return True


def _exit(signum: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + signum)
