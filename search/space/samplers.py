"""Which sampler proposes a study's values: the `[sampler]` table of a space file.

None of these keeps anything in the database that would have to be unpickled; Optuna's CMA-ES does, so it is refused.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from model.config import Frozen
from search.base.mistakes import sentences
from search.base.toml import as_toml
from search.space.budget import Count, CountFromOne


class GpSpec(Frozen):
    """The default: a Gaussian process that learns from the course of every trial, pruned ones too (`choosing.gp`)."""

    name: Literal["gp"] = "gp"
    n_startup_trials: CountFromOne = 6
    """So many trials are quasi-random first."""


class TpeSpec(Frozen):
    """Optuna's own default: learns from the trials so far where good values lie."""

    name: Literal["tpe"] = "tpe"
    n_startup_trials: Count = 10
    """So many trials are sampled at random first."""
    n_ei_candidates: CountFromOne = 24
    """Of so many candidates the most promising is taken."""


class RandomSpec(Frozen):
    """Each trial by itself, evenly over the space."""

    name: Literal["random"] = "random"


class QmcSpec(Frozen):
    """Quasi-random: as random, but the trials together fill the space more evenly."""

    name: Literal["qmc"] = "qmc"
    sequence: Literal["sobol", "halton"] = "sobol"


class GridSpec(Frozen):
    """Every combination once, in an order that the study's seed shuffles; no trial is made beyond them.

    Choices and ranges with a step give all their values; whole numbers too, where they are no more than `points`.
    """

    name: Literal["grid"] = "grid"
    points: Annotated[int, Field(ge=2, le=1000, strict=True)] = 5
    """How many values any other range gives, evenly spaced, both ends included."""


SamplerSpec = Annotated[GpSpec | TpeSpec | RandomSpec | QmcSpec | GridSpec, Field(discriminator="name")]

_PICKLING = {"cmaes", "cma", "cma-es", "cma_es", "cmaessampler"}


def refuse_pickling(raw: object) -> object:
    """`raw`, as a file has it, unless it asks for CMA-ES: then an error with the reason."""
    name = raw.get("name") if isinstance(raw, dict) else None
    if isinstance(name, str) and name.lower() in _PICKLING:
        raise sentences(
            [
                f"name {as_toml(name)} is refused: Optuna's CMA-ES unpickles what it finds in the database, so whoever "
                'may write there could run code here. Use one of "gp", "tpe", "random", "qmc", "grid".'
            ]
        )
    return raw
