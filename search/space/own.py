"""Training of one's own: a function in any framework, or a program in any language, as the `[train]` table names it.

    [train]
    function = "train.py:train"           # def train(trial): ...
    python   = "../torch-env/bin/python"  # default: the one that runs alexsearch
    metric   = "val_accuracy"             # what is optimised
    epochs   = "epochs"                   # which parameter is the planned number of epochs, or a number

    [train]
    command  = ["./train"]                # speaks as docs/training-process.md says

What is trained for a trial is an `OwnConfig`; what an epoch of it came to, an `OwnEpoch`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from model.config import Frozen, PositiveInt, Scalar

Direction = Literal["maximize", "minimize"]


class OwnConfig(Frozen):
    """All that decides one training of one's own, next to the program itself."""

    params: dict[str, Scalar]
    """What the space's parameters are: those that exist in this trial."""
    epochs: PositiveInt = 1
    """Planned; 1 where the training has no epochs."""
    seed: Annotated[int, Field(ge=0, lt=2**32, strict=True)] = 0


class OwnEpoch(Frozen):
    """What one epoch of it came to."""

    epoch: PositiveInt
    """Counted from 1."""
    values: dict[str, float]
    """The metrics that it reported, the study's own among them."""
    seconds: Annotated[float, Field(ge=0)]
    """Wall time."""


class Program(Frozen):
    """A training of one's own as it is started on this host: every path is absolute."""

    file: str
    """The Python file, or the program that `command` names."""
    sha256: Annotated[str, Field(min_length=64, max_length=64)]
    """Of that file, in hexadecimal."""
    function: str | None = None
    """The name in the file; None for a command."""
    python: str | None = None
    """The interpreter that runs the file; None for a command."""
    arguments: tuple[str, ...] = ()
    """Of a command, behind `file`."""
    metric: str
    """The one that is optimised: every report must have it."""
    has_epochs: bool
    """Whether the number of epochs is planned. Else one report, or what the function returns, is all."""
    epoch_seconds: Annotated[float, Field(gt=0)]
    """How long it may be silent before it is taken for hung."""
    params: tuple[str, ...]
    """The parameters that trials can have."""
