"""What it takes to run a trial again, beside its configuration and data; and when something was made."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import socket
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

VERSIONED = ("alexsearch", "tensorflow", "keras", "numpy", "optuna")


def utc(when: datetime | None = None) -> str:
    """`when`, or now, as it is stored: "2026-01-31T12:00:00Z"."""
    return (when or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def provenance() -> dict[str, Any]:
    """Versions, git commit and host."""
    versions = {name: _version(name) for name in VERSIONED}
    return {
        "versions": {"python": platform.python_version(), **versions},
        "git_commit": git_commit(),
        "host": socket.gethostname(),
    }


def alexsearch_version() -> str:
    """Of the alexsearch that runs; "not installed" where it runs from a folder alone."""
    return _version("alexsearch")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def git_commit() -> str | None:
    """The commit this code was checked out at, with "-dirty" where it was changed since; None outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    environment = {key: os.environ[key] for key in ("PATH", "HOME", "XDG_CONFIG_HOME", "SUDO_UID") if key in os.environ}
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True, env=environment)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None
