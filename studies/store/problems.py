"""What a database's error means: whether waiting helps, and what to tell people."""

from __future__ import annotations

from sqlalchemy import exc
from sqlalchemy.engine import URL

from studies.store.errors import StorageError
from studies.store.urls import redacted, without_secrets

# SQLSTATEs of Postgres that no waiting mends: wrong password, no such database or right, disk full.
POSTGRES_HOPELESS = ("28", "3D", "42", "22", "23", "53100")
NO_RIGHT = "42501"
SQLITE_PASSING = ("locked", "busy")


def database_problem(error: BaseException | None) -> exc.SQLAlchemyError | OSError | None:
    """The database's own error inside `error`, if that is what it is about."""
    while error is not None:
        if isinstance(error, (exc.OperationalError, exc.InterfaceError, exc.InternalError, exc.TimeoutError)):
            return error
        if isinstance(error, exc.DatabaseError) and not isinstance(error, (exc.IntegrityError, exc.ProgrammingError)):
            return error
        if isinstance(error, exc.DBAPIError) and (error.connection_invalidated or _sqlstate(error) == NO_RIGHT):
            return error
        # Optuna goes on with a session whose connection broke, and what then fails hides the first error behind itself.
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return None


def _sqlstate(problem: BaseException) -> str | None:
    return getattr(getattr(problem, "orig", None), "sqlstate", None)


def is_passing(problem: exc.SQLAlchemyError | OSError) -> bool:
    """Whether waiting may help."""
    original = getattr(problem, "orig", None)
    if original is None or isinstance(problem, exc.TimeoutError):
        return True
    if type(original).__module__.startswith("sqlite3"):
        return any(word in str(original) for word in SQLITE_PASSING)
    sqlstate = _sqlstate(problem)
    if sqlstate is None:  # no answer from a server: refused, reset, unknown host; or its text tells of a login
        text = str(original)
        return not any(word in text for word in ("authentication failed", "does not exist", "no password supplied"))
    return not sqlstate.startswith(POSTGRES_HOPELESS)


def explained(problem: Exception, url: URL) -> StorageError:
    """`problem` in words, with the way out and without a password."""
    way_out = _way_out(problem, url)
    return StorageError(f"storage {redacted(url)}: {problem_text(problem, url)}. {way_out}")


def problem_text(problem: Exception, url: URL) -> str:
    """What the database said, on one line and without a password."""
    text = " ".join(str(getattr(problem, "orig", None) or problem).split())
    text = without_secrets(text, url)
    return text if len(text) <= 300 else text[:297] + "..."


def _way_out(problem: Exception, url: URL) -> str:
    text = problem_text(problem, url)
    way_out = "Check the URL, the password and that the server runs, then try again: nothing was lost."
    if _sqlstate(problem) == NO_RIGHT:
        way_out = "Give this user the rights on the schema (GRANT ALL ON SCHEMA public TO ...), or name another user."
    if url.get_backend_name() == "sqlite":
        way_out = {
            "readonly": "Make the file and its folder writable, or name another place with --home or --storage.",
            "full": "Free some disk space and run the same command again: nothing that was recorded is lost.",
            "not a database": "This file is no SQLite database. Name another with --storage.",
            "malformed": "The file is damaged: restore a copy, or rescue what it holds with `sqlite3 FILE .recover`.",
            "locked": "Another program holds the file. End it, then run the same command again: nothing was lost.",
        }.get(next((w for w in ("readonly", "full", "not a database", "malformed", "locked") if w in text), ""), "")
        way_out = way_out or "Check that the file and its folder can be read and written."
    return way_out
