"""What the workers of a run are told: the command line and environment of `alexsearch worker` on another host."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from model.config import BUNDLED_IMAGES
from search.base.home import Home
from search.run.engines.engine import Order, Resources
from search.training.places import CORES, PRETEND, SHARERS
from studies.store.storage import Storage

HANDED_ON = ("PGPASSWORD", "PGPASSFILE", "PGSERVICEFILE", "PGSSLKEY", PRETEND)
"""Variables that a worker needs as this process has them: what a database's driver reads if it is not in the URL."""
FOR_FILES = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION"),
    *("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"),
)
"""The same, if the study keeps its files elsewhere (`--files`)."""


def order_of(
    study: str,
    storage: Storage,
    home: Home,
    folder: str,
    *,
    code: Path | None,
    source: str | None,
    resources: Resources,
    files: bool = False,
    environ: Mapping[str, str] = os.environ,
) -> Order:
    """The order for one worker of a study.

    Args:
        study: Its name now.
        folder: The name that it was begun with, of its folder in the home.
        code: Folder of the file of a network or a training of one's own; None if there is none.
        source: Where the images are; None if it has none of ours.
        resources: What the worker is given of its host.
        files: Whether the study's checkpoints follow it (`--files`).
    """
    arguments = ["worker", f"--study={study}", "--home", str(home.folder.absolute()), "--workers", "1"]
    arguments += ["--gpus", "all" if resources.gpus else "none"]
    if code is not None:
        arguments += ["--code", str(code.absolute())]
    if source is not None:
        bundled = source == "cifar10" or source in BUNDLED_IMAGES
        arguments += [f"--data={source if bundled else Path(source).absolute()}"]
    environment = {name: environ[name] for name in (*HANDED_ON, *(FOR_FILES if files else ())) if name in environ}
    environment["ALEXSEARCH_STORAGE"] = storage.whole_url
    if resources.gpus:
        environment[SHARERS] = str(max(1, round(1 / resources.gpus)))
    else:
        environment[CORES] = str(max(1, int(resources.cpus)))
    return Order(tuple(arguments), environment, folder=Path.cwd(), logs=home.logs(folder).absolute())
