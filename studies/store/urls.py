"""Which database a text names, and how it may be printed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import exc
from sqlalchemy.engine import URL, make_url

from studies.store.errors import StorageError
from studies.store.secret_file import read_secret

SQLITE_FILE = "alexsearch.db"
PASSWORD_FILE = "ALEXSEARCH_STORAGE_PASSWORD_FILE"  # noqa: S105 - where one is


def storage_url(storage: str | None, home: Path, password_files: Sequence[str] = (PASSWORD_FILE,)) -> URL:
    """The database that `storage` names: an SQLite or Postgres URL; None is the SQLite file under `home`.

    A Postgres URL without a password takes it from the file that the first of the variables `password_files` which is
    set names, and if none is, libpq looks where it always does (PGPASSWORD, PGPASSFILE).

    Raises:
        StorageError: the URL is not one, or names another kind of database.
    """
    if not storage:
        return URL.create("sqlite", database=str((home / SQLITE_FILE).absolute()))
    known = "sqlite:///FILE or postgresql://USER@HOST/DATABASE"
    try:
        url = parsed(storage)
    except (exc.ArgumentError, ValueError):
        # Quoted nowhere: what could not be taken apart may have a password in any of its parts.
        raise StorageError(f"the storage is not a database URL. Use {known}.") from None
    backend = url.drivername.split("+")[0]
    if backend == "sqlite":
        if not url.database or url.database == ":memory:":
            raise StorageError(f"storage {redacted(url)}: names no file, and a search must outlive it. Use {known}.")
        return url.set(drivername="sqlite", database=str(Path(url.database).absolute()))
    if backend not in ("postgresql", "postgres"):
        raise StorageError(f"storage {redacted(url)}: {backend!r} is not a kind of database we know. Use {known}.")
    url = url.set(drivername="postgresql+psycopg")
    variable = next((each for each in password_files if os.environ.get(each)), None)
    if variable and not has_password(url):
        password_file = os.environ[variable]
        try:
            url = url.set(password=read_secret(Path(password_file)).strip("\r\n"))
        except (OSError, UnicodeDecodeError) as error:
            raise StorageError(
                f"{variable} {password_file}: can't be read ({error}). "
                "Name a readable file that holds the database's password."
            ) from None
    return url


def parsed(text: str) -> URL:
    """The URL, whose password may hold an `@` or a `/` as it is: it ends before the last `@`.

    SQLAlchemy would have it end before the first, and take the rest for the host, which is printed.
    """
    scheme, mark, rest = text.partition("://")
    place, question, query = rest.partition("?")
    user, at, host = place.rpartition("@")
    name, colon, password = user.partition(":")
    if not (mark and at and colon and "@" in password):
        return make_url(text)
    password = password.replace("@", "%40").replace("/", "%2F")
    return make_url(f"{scheme}://{name}:{password}@{host}{question}{query}")


def has_password(url: URL | str) -> bool:
    """Whether the URL itself carries a password, in either of its two places."""
    url = parsed(url) if isinstance(url, str) else url
    return bool(url.password) or "password" in url.query


def same_database(one: URL, other: URL) -> bool:
    """Whether both name one database, as far as that can be told from their URLs."""
    if {one.get_backend_name(), other.get_backend_name()} == {"sqlite"}:
        files = [Path(url.database or "") for url in (one, other)]
        return files[0] == files[1] or (all(file.exists() for file in files) and files[0].samefile(files[1]))
    return _place(one) == _place(other)


def _place(url: URL) -> tuple[object, ...]:
    given = url.normalized_query
    return url.get_backend_name(), url.host or given.get("host"), url.port or given.get("port"), url.database


def redacted(url: URL) -> str:
    """The URL as it may be printed, without the passwords that `repr(URL)` shows: `?password=`, `?sslpassword=`."""
    if url.get_backend_name() == "sqlite" and url.database and not url.query:
        # SQLAlchemy would write all but ASCII as %E6%97%A5; only what a URL would read as something else must be so.
        return f"sqlite:///{url.database.replace('%', '%25').replace('?', '%3F')}"
    return (
        url.update_query_dict(dict.fromkeys(_secret_options(url), "***"))
        .render_as_string(hide_password=True)
        .replace("+psycopg", "")
    )


def without_secrets(text: str, url: URL) -> str:
    """The text with every password of the URL taken out, written as it is or as URLs write it."""
    secrets = {str(url.password)} if url.password else set()
    for name in _secret_options(url):
        given = url.query[name]
        secrets |= {given} if isinstance(given, str) else set(given)
    for secret in sorted(secrets | {quote(secret) for secret in secrets} - {""}, key=len, reverse=True):
        text = text.replace(secret, "***") if secret else text
    return text


def _secret_options(url: URL) -> list[str]:
    return [name for name in url.query if "password" in name.lower()]
