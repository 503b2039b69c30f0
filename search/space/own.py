"""Training of one's own: a function in any framework, or a program in any language, as the `[train]` table names it.

    [train]
    function = "train.py:train"           # def train(trial): ...
    python   = "../torch-env/bin/python"  # default: the one that runs alexsearch
    metric   = "val_accuracy"             # what is optimised
    epochs   = "epochs"                   # which parameter is the planned number of epochs, or a number

    [train]
    command  = ["./train"]                # speaks as docs/training-process.md says

What is trained for a trial is an `OwnConfig`; what an epoch of it came to, an `OwnEpoch`.

A Keras network of one's own is trained by our engine, on images: the `[model]` table names the function that builds it.

    [model]
    network  = "mynet.py:build"           # def build(image_shape, classes, *, width, depth) -> keras.Model
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from model.config import Frozen, PositiveInt, Scalar

Direction = Literal["maximize", "minimize"]
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]{0,99}")


def _file_and_function(text: str) -> str:
    file, colon, function = text.rpartition(":")
    if not colon or not file or not function.isidentifier():
        raise ValueError('must be a Python file and the name of a function in it, as in "train.py:train"')
    if not file.endswith(".py"):
        raise ValueError('must name a Python file, whose name ends in .py, as in "train.py:train"')
    return text


def is_name(text: str) -> bool:
    """Whether a parameter or metric may be called so."""
    return _NAME.fullmatch(text) is not None


def _metric_name(text: str) -> str:
    if not is_name(text):
        raise ValueError("must begin with a letter and have only letters, digits and _ . / - in it, 100 at most")
    return text


FunctionName = Annotated[str, Field(max_length=1000), AfterValidator(_file_and_function)]
""" "FILE.py:NAME"; a relative path starts at the folder of the file that names it."""


class ModelSpec(Frozen):
    """The `[model]` table."""

    network: Annotated[FunctionName, Field(examples=["mynet.py:build"])]
    """Builds it: `build(image_shape, classes, *, ...)`; what else it takes may be searched."""


class TrainSpec(Frozen):
    """The `[train]` table: either `function` or `command`."""

    function: FunctionName | None = None
    """Takes a trial: `train(trial)`."""
    command: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)] | None = None
    """A program and its arguments, started without a shell. A relative path starts at the folder of the space file."""
    python: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
    """The interpreter that runs the function; None is ours."""
    metric: Annotated[str, AfterValidator(_metric_name)] = "val_accuracy"
    """The one of those reported that is optimised."""
    direction: Direction = "maximize"
    epochs: Annotated[str, Field(min_length=1)] | PositiveInt | None = None
    """The parameter that is the planned number of epochs, or a number; None: one report is all."""
    epoch_seconds: Annotated[float, Field(gt=0, le=30 * 86400)] = 3600.0
    """How long nothing may be reported before the training is taken for hung and ended."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.function is None) == (self.command is None):
            raise ValueError(
                'needs either function, as in "train.py:train", or command, as in ["./train"]'
                + (", not both" if self.function else "")
            )
        if self.python is not None and self.function is None:
            raise ValueError("python goes with function; of a command, it is the first part")
        return self

    @property
    def called(self) -> str:
        """As people read it: "train.py:train" or "./train --fast"."""
        return self.function or " ".join(self.command or ())


class OwnConfig(Frozen):
    """All that decides one training of one's own, next to the program itself."""

    params: dict[str, Scalar]
    """What the space's parameters are: those that exist in this trial."""
    epochs: PositiveInt = 1
    """Planned; 1 where the training has no epochs."""
    seed: Annotated[int, Field(ge=0, lt=2**32, strict=True)] = 0

    def __hash__(self) -> int:
        return hash(self.model_dump_json())


class OwnEpoch(Frozen):
    """What one epoch of it came to."""

    epoch: PositiveInt
    """Counted from 1."""
    values: dict[str, float]
    """The metrics that it reported, the study's own among them."""
    seconds: Annotated[float, Field(ge=0)]
    """Wall time."""

    def named(self) -> dict[str, Any]:
        """All of it by name: what is stored."""
        return {**self.values, "epoch": self.epoch, "seconds": self.seconds}


def own_epoch(row: Mapping[str, Any]) -> OwnEpoch:
    """What `named` gave. Raises ValidationError if it is something else."""
    values = {name: value for name, value in row.items() if name not in ("epoch", "seconds")}
    return OwnEpoch.model_validate({"epoch": row.get("epoch"), "seconds": row.get("seconds"), "values": values})


class Program(Frozen):
    """A training of one's own as it is started on this host: every path is absolute."""

    called: str
    """As the space names it, for people."""
    file: str
    """The Python file, or the program that `command` names."""
    sha256: Annotated[str, Field(min_length=64, max_length=64)]
    """Of that file, in hexadecimal."""
    function: str | None = None
    """The name in the file; None for a command."""
    python: str | None = None
    """The interpreter that runs the file; None for a command."""
    arguments: tuple[str, ...] = ()
    """Of a command, behind `file`; those that are files are absolute paths."""
    files: tuple[tuple[str, str], ...] = ()
    """These files, each with its SHA-256."""
    metric: str
    """The one that is optimised: every report must have it."""
    has_epochs: bool
    """Whether the number of epochs is planned. Else one report, or what the function returns, is all."""
    epoch_seconds: Annotated[float, Field(gt=0)]
    """How long it may be silent before it is taken for hung."""
    params: tuple[str, ...]
    """The parameters that trials can have."""

    @property
    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, that changes with any of its files."""
        if not self.files:
            return self.sha256
        return hashlib.sha256("\n".join([self.sha256, *(digest for _, digest in self.files)]).encode()).hexdigest()
