"""The options of `run` that say where its workers are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from search.cli.options import Command, typed

if TYPE_CHECKING:
    from search.run.engines.engine import Engine

ENGINES = ("local", "ray")


def engine_options(command: Command) -> Command:
    """--engine and what each engine wants to know"""
    engine = click.option(
        "--engine",
        type=click.Choice(ENGINES),
        default=ENGINES[0],
        show_default=True,
        help="Where the workers are: on this host, or placed by a Ray cluster on its own.",
    )
    ray_address = click.option(
        "--ray-address",
        metavar="WHERE",
        default="auto",
        show_default=True,
        help="The Ray cluster: auto, HOST:PORT, or local, which starts one of this host alone.",
    )
    return engine(ray_address(command))


def engine_of(name: str, gpus: str, trials_per_gpu: int | None, *, ray_address: str) -> Engine | None:
    """The engine that the options name; None is this process. Nothing is started, and nothing asked of a cluster.

    Raises:
        UsageError: options that don't go together.
    """
    if name == "local":
        if typed("ray_address"):
            raise click.UsageError("--ray-address goes with --engine ray.")
        return None
    from search.run.engines.on_ray import OnRay

    return OnRay(ray_address, gpus=_gpus(name, gpus, trials_per_gpu))


def _gpus(engine: str, gpus: str, trials_per_gpu: int | None) -> float | None:
    """What each worker gets of a GPU on a cluster; None if nothing was said: one of its own, if there are any."""
    if gpus not in ("all", "none"):
        raise click.UsageError(f"--gpus: with --engine {engine} must be all or none: which ones, the cluster decides.")
    if trials_per_gpu is None:
        raise click.UsageError(
            f"--trials-per-gpu: with --engine {engine} must be a number: auto asks this host's GPUs."
        )
    if gpus == "none":
        return 0.0
    return 1 / trials_per_gpu if typed("gpus") or typed("trials_per_gpu") else None
