"""The options of `run` that say where its workers are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from search.cli.options import Command, typed

if TYPE_CHECKING:
    from search.run.engines.engine import Engine

ENGINES = ("local", "ray", "slurm")


def engine_options(command: Command) -> Command:
    """--engine and what each engine wants to know"""
    engine = click.option(
        "--engine",
        type=click.Choice(ENGINES),
        default=ENGINES[0],
        show_default=True,
        help="Where the workers are: on this host, placed by a Ray cluster on its own, or jobs of Slurm.",
    )
    ray_address = click.option(
        "--ray-address",
        metavar="WHERE",
        default="auto",
        show_default=True,
        help="The Ray cluster: auto, HOST:PORT, or local, which starts one of this host alone.",
    )
    slurm = click.option(
        "--slurm",
        metavar="KEY=VALUE,...",
        default="",
        show_default="the cluster's",
        help="What each worker's job asks Slurm for, as in partition=gpu,gres=gpu:1,time=4:00:00.",
    )
    return engine(ray_address(slurm(command)))


def engine_of(name: str, gpus: str, trials_per_gpu: int | None, *, ray_address: str, slurm: str) -> Engine | None:
    """The engine that the options name; None is this process. Nothing is started, and nothing asked of a cluster.

    Raises:
        UsageError: options that don't go together.
        InputError: `slurm` asks for what there is not.
    """
    for parameter, owner in (("ray_address", "ray"), ("slurm", "slurm")):
        if name != owner and typed(parameter):
            raise click.UsageError(f"--{parameter.replace('_', '-')} goes with --engine {owner}.")
    if name == "local":
        return None
    if name == "slurm":
        from search.run.engines.on_slurm import OnSlurm

        if typed("gpus") or typed("trials_per_gpu"):
            raise click.UsageError(
                "--gpus and --trials-per-gpu: with --engine slurm ask for GPUs by --slurm gres=gpu:1, one a worker."
            )
        return OnSlurm(slurm)
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
