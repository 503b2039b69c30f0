"""The tables `[space]` and `[baseline]` of a space file, for the AlexNet, a network of one's own, and training of one's
own: which names they may have, and what is said of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import ConfigDict, Field, ValidationError, ValidationInfo, create_model, field_validator, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from model.config import ALEXNETS, HYPERPARAMETERS, Frozen
from search.base.mistakes import sentences
from search.base.toml import as_toml
from search.space.own import is_name
from search.space.parameters import FIELDS, NAMES, Fixed, Parameter, Value, checked_value, parse_parameter


class _SpaceTable(Frozen):
    """What is searched of the AlexNet."""

    ours: ClassVar[frozenset[str]] = frozenset(NAMES)

    @field_validator("*", mode="before")
    @classmethod
    def _follows_train_config(cls, raw: object, info: ValidationInfo) -> Parameter | Fixed | None:
        return None if raw is None else parse_parameter(str(info.field_name), raw)

    def entries(self) -> dict[str, Parameter | Fixed | None]:
        """What it says of each parameter; None for a hyperparameter of ours that it doesn't name."""
        return {name: getattr(self, name) for name in NAMES}


class _Baseline(Frozen):
    """The configuration that is tried first. What the space fixes may be left out."""

    @field_validator("*", mode="before")
    @classmethod
    def _follows_train_config(cls, raw: object, info: ValidationInfo) -> Value | None:
        mistakes: list[str] = []
        name = str(info.field_name)
        value = None if raw is None else checked_value(name, raw, name, mistakes)
        if mistakes:
            raise sentences(mistakes)
        return value

    def given(self) -> dict[str, Value]:
        """The values that it has."""
        return {name: value for name in NAMES if (value := getattr(self, name)) is not None}


def _entry(name: str) -> tuple[Any, Any]:
    """Type and default of a hyperparameter in `[space]`. What the paper left alone is stored only if it is opened."""
    field, about, kind = FIELDS[name], HYPERPARAMETERS[name], Parameter | Fixed
    if field.is_required():
        return kind, Field(examples=[about.example])
    return (kind | None, None) if about.beyond or field.default is None else (kind, field.default)


class OwnTable(Frozen):
    """What is searched of training of one's own: parameters of any name."""

    model_config = ConfigDict(extra="allow")

    ours: ClassVar[frozenset[str]] = frozenset()
    """The names that mean hyperparameters of `TrainConfig`."""
    needed: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _parsed(cls, raw: object) -> object:
        if not isinstance(raw, Mapping):
            return raw
        parsed: dict[str, Any] = {}
        wrong: list[InitErrorDetails] = []
        for name, value in raw.items():
            try:
                parsed[name] = cls._entry_of(str(name), value)
            except PydanticCustomError as error:
                wrong.append(InitErrorDetails(type=error, loc=(name,), input=value))
        missing = [
            f"{name} is missing. Add it, e.g. {name} = {as_toml(HYPERPARAMETERS[name].example)}."
            for name in cls.needed
            if name not in raw
        ]
        if missing:
            wrong.append(InitErrorDetails(type=sentences(missing), loc=(), input=raw))
        if wrong:
            raise ValidationError.from_exception_data(cls.__name__, wrong)
        return parsed

    @classmethod
    def _entry_of(cls, name: str, raw: object) -> Parameter | Fixed:
        if not is_name(name):
            raise sentences(
                ["a parameter's name must begin with a letter and have only letters, digits and _ . / - in it."]
            )
        return parse_parameter(name, raw, ours=name in cls.ours)

    def entries(self) -> dict[str, Parameter | Fixed | None]:
        """What it says of each parameter; None for a hyperparameter of ours that it doesn't name."""
        given: dict[str, Any] = self.model_extra or {}
        return {name: given.get(name) for name in NAMES if name in self.ours} | given


class NetworkTable(OwnTable):
    """What is searched of a network of one's own: our hyperparameters but for what is the AlexNet's alone, and what
    builds it."""

    ours: ClassVar[frozenset[str]] = frozenset(NAMES) - set(ALEXNETS)
    needed: ClassVar[tuple[str, ...]] = ("batch_size", "learning_rate", "epochs")


class OwnBaseline(Frozen):
    """The configuration that is tried first, whatever its parameters are called."""

    model_config = ConfigDict(extra="allow")

    ours: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _checked(cls, raw: object) -> object:
        if not isinstance(raw, Mapping):
            return raw
        mistakes: list[str] = []
        values = {
            name: checked_value(str(name), value, str(name), mistakes, ours=name in cls.ours)
            for name, value in raw.items()
        }
        if mistakes:
            raise sentences(mistakes)
        return values

    def given(self) -> dict[str, Value]:
        """The values that it has."""
        return dict(self.model_extra or {})


class NetworkBaseline(OwnBaseline):
    """That of a network of one's own."""

    ours: ClassVar[frozenset[str]] = NetworkTable.ours


if TYPE_CHECKING:
    SpaceTable = _SpaceTable
    Baseline = _Baseline
else:  # their fields are the hyperparameters, whichever `TrainConfig` has
    SpaceTable = create_model("SpaceTable", __base__=_SpaceTable, **{name: _entry(name) for name in NAMES})
    Baseline = create_model("Baseline", __base__=_Baseline, **dict.fromkeys(NAMES, (Value | None, None)))
