"""What a study is called and what it may spend: the `[study]` table of a space file."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from model.config import Frozen
from studies.words import check_study_name

Seed = Annotated[int, Field(ge=0, lt=2**32, strict=True)]
Count = Annotated[int, Field(ge=0, le=1_000_000, strict=True)]
CountFromOne = Annotated[int, Field(ge=1, le=1_000_000, strict=True)]

_UNITS = {"d": 86400, "h": 3600, "min": 60, "m": 60, "s": 1}
_DURATION = re.compile(rf"\s*(\d+(?:\.\d+)?)\s*({'|'.join(_UNITS)})")
LONGEST_SECONDS = 366 * 86400
MOST_TRIALS = 1_000_000


class StudySpec(Frozen):
    """What the study is called and what it may spend. Whatever of its budget is used up first ends a run."""

    name: Annotated[str, Field(min_length=1, max_length=100, examples=["my-study"])]
    """Becomes the name of a folder: letters a to z, digits, space and . _ - only."""
    trials: Annotated[int, Field(ge=1, le=MOST_TRIALS, strict=True, examples=[20])]
    """Settled trials in all, over every run of the study."""
    timeout: str | None = None
    """How long one run may take, as in "2h" or "1h 30m". Running trials go back into the queue and go on next time."""
    max_device_hours: Annotated[float, Field(gt=0, le=1e6)] | None = None
    """Device time of all trials in all, over every run and host, to the epoch."""
    target: Annotated[float, Field(gt=0, le=1)] | None = None
    """The first complete trial with this value of its metric (val_accuracy), or a better one, ends the study."""
    patience: CountFromOne | None = None
    """The study ends once so many trials in a row were settled without a gain of `min_gain` over the best before."""
    min_gain: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """In the metric's own unit; 0 if it is left out."""
    until_expected_gain: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """The study ends once `gp` expects less than this, in the metric's own unit, of the best point that it knows."""
    repeats: bool = False
    """Whether values that were tried already may be trained again, with another seed. See `choosing.proposing`."""
    seed: Seed = 0
    """Decides each trial's sampling and training seed."""

    @field_validator("name")
    @classmethod
    def _name_is_a_folder(cls, name: str) -> str:
        check_study_name(name)
        return name

    @field_validator("timeout")
    @classmethod
    def _timeout_is_a_duration(cls, timeout: str | None) -> str | None:
        if timeout is not None:
            seconds_of(timeout)
        return timeout

    @model_validator(mode="after")
    def _gain_needs_patience(self) -> Self:
        if self.min_gain is not None and self.patience is None:
            raise ValueError("min_gain is what patience waits for. Add it, e.g. patience = 20, or leave min_gain out")
        return self

    @property
    def timeout_seconds(self) -> float | None:
        """`timeout` as a number."""
        return None if self.timeout is None else seconds_of(self.timeout)


class OwnStudySpec(StudySpec):
    """That of training of one's own, whose metric may be any number."""

    target: float | None = None
    """The first complete trial whose metric reaches this, or comes below it if it is minimised, ends the study."""


def seconds_of(duration: str) -> float:
    """The seconds of "90s", "30m", "2h", "1h 30m" or "1.5d".

    Raises:
        ValueError: it is none of these; the message is a whole sentence.
    """
    parts = _DURATION.findall(duration)
    if not parts or _DURATION.sub("", duration).strip():
        raise ValueError('must be a time with its unit, as in "90s", "30m", "2h" or "1h 30m"')
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if not 0 < seconds <= LONGEST_SECONDS:
        raise ValueError("must be more than 0 seconds and at most 366 days")
    return seconds
