"""The search space of a study: a TOML file in, a frozen and wholly checked `SearchSpace` out.

    space = parse_space(document, "my.toml")     # files.py knows what a file is called, and the presets
    config = space.config(trial.params, seed=7)  # what this Optuna trial trains

A file has eight tables: `[study]` name, seed, number of trials and other limits (see `space.budget`); `[data]` as in
`model.config.DataSpec`; `[space]` with a fixed value, choices or a range for each hyperparameter (see
`space.parameters`); `[sampler]` and `[pruner]` (see `space.samplers` and `space.pruners`); `[baseline]`, or
several `[[baseline]]`, configurations that are tried first and must be points of the space: what it fixes may be left
out; `[constraints]`, what of the space is left out (see `space.constraints`); and `[hooks]` (see `space.hooks`), which
alone is never stored with a study.

With a table `[model]` it searches a Keras network of one's own, and `[space]` may have what builds it as well: then it
is a `NetworkSpace`. With a table `[train]` it searches training of one's own, on data of its own, and `[space]` has
what its author chose: an `OwnSpace`. See `space.own`.
A relative path in `source` starts at the working directory, as it does for `--data`, not at the file's folder.

Every mistake is reported at once, also those between tables, as far as the tables concerned could be read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self, get_args

from pydantic import (
    TypeAdapter,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from model.config import DataSpec, Frozen, TrainConfig
from search.base.mistakes import InputError, closest, explain, sentences
from search.base.toml import as_toml, with_tuples
from search.space.agreement import completed, disagreements
from search.space.budget import OwnStudySpec, StudySpec
from search.space.constraints import ConstraintsSpec, points
from search.space.hooks import HooksSpec
from search.space.own import Direction, ModelSpec, OwnConfig, TrainSpec
from search.space.parameters import (
    NAMES,
    Choices,
    Parameter,
    Parameters,
    Range,
    Value,
    decode,
    distribution,
    encode,
    largest,
    parse_parameter,
)
from search.space.pruners import PrunerSpec, ReachSpec
from search.space.samplers import GpSpec, SamplerSpec, refuse_pickling
from search.space.tables import Baseline, NetworkBaseline, NetworkTable, OwnBaseline, OwnTable, SpaceTable

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

OPTIONS: dict[tuple[str | int, ...], str] = {
    ("study", "name"): "--study",
    ("study", "trials"): "--trials",
    ("study", "timeout"): "--timeout",
    ("study", "max_device_hours"): "--max-device-hours",
    ("study", "target"): "--target",
    ("study", "patience"): "--patience",
    ("study", "seed"): "--seed",
    ("data", "source"): "--data",
    ("data", "train_images"): "--train-images",
    ("data", "validation_images"): "--validation-images",
}
"""What the command line calls the keys that its options change."""


class SearchSpace(Frozen):
    """A whole space file. Once made it is consistent: any trial's values make a valid `TrainConfig`."""

    study: StudySpec
    data: DataSpec = DataSpec()
    space: SpaceTable
    sampler: SamplerSpec = GpSpec()
    pruner: PrunerSpec = ReachSpec()
    baseline: tuple[Baseline, ...] | None = None
    """One or more; the first is what is called the baseline of the study."""
    constraints: ConstraintsSpec | None = None
    hooks: HooksSpec | None = None
    """Run on the host that was given the file, and no other: neither stored nor read from what is stored."""

    _not_stored: ClassVar[set[str]] = {"hooks"}

    @field_validator("sampler", mode="before")
    @classmethod
    def _nothing_is_unpickled(cls, raw: object) -> object:
        return refuse_pickling(raw)

    @field_validator("baseline", mode="wrap")
    @classmethod
    def _one_table_or_several(cls, raw: object, several: ValidatorFunctionWrapHandler) -> Any:
        if raw is None or isinstance(raw, tuple):
            return several(raw or None)
        return (cls._baseline_kind().model_validate(raw, strict=True),)

    @classmethod
    def _baseline_kind(cls) -> Any:
        several, _ = get_args(cls.model_fields["baseline"].annotation)
        return get_args(several)[0]

    @model_validator(mode="after")
    def _tables_agree(self) -> Self:
        given = [each.given() for each in self.baseline or ()]
        lines = disagreements(self.parameters(), self.data, self.pruner, self.sampler, given, self.constraints)
        if lines := self._more_disagreements() + lines:
            raise sentences(lines)
        return self

    def _more_disagreements(self) -> list[str]:
        lines = []
        if self.study.until_expected_gain is not None and not isinstance(self.sampler, GpSpec):
            name = as_toml(self.sampler.name)
            lines.append(f"[study]: until_expected_gain is what gp tells, but the sampler is {name}. Leave one out.")
        if self.data.image_size is not None and not isinstance(self, (NetworkSpace, OwnSpace)):
            lines.append(
                "[data.image_size]: the AlexNet takes 32x32. Leave it out, or name a network of your own in [model]."
            )
        return lines

    def __hash__(self) -> int:
        return hash(self.digest())

    def parameters(self) -> Parameters:
        """What `[space]` says of each parameter; None for a hyperparameter of ours that it doesn't name."""
        return self._parameters

    @cached_property
    def _parameters(self) -> Parameters:
        return Parameters(self.space.entries(), self.space.ours)

    @property
    def metric(self) -> str:
        """The name of what is optimised."""
        return "val_accuracy"

    @property
    def direction(self) -> Direction:
        """Which of two of its values is the better one."""
        return "maximize"

    @property
    def trains_own(self) -> bool:
        """Whether it searches training of one's own."""
        return False

    @property
    def max_epochs(self) -> int:
        """The largest number of epochs that a trial can have."""
        return self._largest("epochs")

    def epochs_of(self, params: Mapping[str, Any]) -> int:
        """The planned number of epochs of a trial that has these `params`."""
        return int(params.get("epochs", self.max_epochs))

    @property
    def max_batch_size(self) -> int | None:
        """The largest batch that a trial can have, in images; None where that is its own matter."""
        return self._largest("batch_size")

    def _largest(self, name: str) -> int:
        parameter = self.parameters()[name]
        assert parameter is not None  # noqa: S101 - for the type checker: every space has it
        return int(largest(parameter))

    def searched(self) -> dict[str, Choices | Range]:
        """What of the hyperparameters is searched, in the order in which a trial is asked for them."""
        return {name: each for name, each in self.parameters().items() if isinstance(each, (Choices, Range))}

    def distributions(self) -> dict[str, BaseDistribution]:
        """What Optuna calls that which is searched, in the same order."""
        return {name: distribution(parameter) for name, parameter in self.searched().items()}

    def params(self, choose: Callable[[str], Any]) -> dict[str, Any]:
        """What one trial of Optuna's has as its `params`: of what is searched, all that its other values allow.

        `choose` gives each by its name, in order and as Optuna holds it. Some exist only where another one has a
        certain value, as step_epochs and step_factor do where schedule is "step".
        """
        return self._chosen(choose)[0]

    def config(self, params: Mapping[str, Any], seed: int) -> TrainConfig | OwnConfig:
        """The configuration of a trial that has these `params`, with what the space fixes.

        Raises:
            KeyError: one is missing, or is not among its choices.
            ValueError: nothing can be trained with them.
        """
        return self._config_of(self._chosen(params.__getitem__)[1], seed)

    def _config_of(self, values: Mapping[str, Any], seed: int) -> TrainConfig | OwnConfig:
        return TrainConfig(**values, seed=seed)

    def broken(self, params: Mapping[str, Any]) -> list[str]:
        """The constraints that a trial with these `params` does not meet. Raises KeyError as `config` does."""
        return self.constraints.broken(self._chosen(params.__getitem__)[1]) if self.constraints else []

    def allowed(self) -> Iterator[dict[str, Any]]:
        """Params all over the space that meet the constraints, as far as a search without an end is not needed."""
        for values in points(self.parameters()):
            if self.constraints is None or not self.constraints.broken(values):
                yield {name: encode(each, values[name]) for name, each in self.searched().items() if name in values}

    def _chosen(self, choose: Callable[[str], Any]) -> tuple[dict[str, Any], dict[str, Value]]:
        """What `choose` gave, and the values of all parameters that apply."""
        params: dict[str, Any] = {}
        values: dict[str, Value] = {}
        parameters = self.parameters()
        for name, parameter in parameters.items():
            if parameter is None or not parameters.exists(name, values):
                continue
            if isinstance(parameter, (Choices, Range)):
                params[name] = choose(name)
                values[name] = decode(parameter, params[name])
            else:
                values[name] = parameter
        return params, values

    def baseline_config(self, seed: int) -> TrainConfig | OwnConfig | None:
        """The first baseline with all its values, those the space fixes included."""
        if self.baseline is None:
            return None
        return self._config_of(completed(self.baseline[0].given(), self.parameters()), seed)

    def baseline_params(self) -> list[dict[str, int | float | str]]:
        """Each baseline's searched parameters, as `study.enqueue_trial` takes them, in the order of the file."""
        return [
            {name: encode(each, values[name]) for name, each in self.searched().items() if name in values}
            for baseline in self.baseline or ()
            for values in [completed(baseline.given(), self.parameters())]
        ]

    def to_dict(self) -> dict[str, Any]:
        """The space as JSON holds it: stored with the study, and read back by workers that have no file."""
        values = self.model_dump(mode="json", exclude_none=True, exclude=self._not_stored)
        if len(values.get("baseline", ())) == 1:
            (values["baseline"],) = values["baseline"]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], called: str = "the stored space") -> SearchSpace:
        """What `to_dict` gave, checked like a file. Raises InputError, its lines starting with `called`.

        Hooks that somebody has written into it are passed over.
        """
        return parse_space({table: inside for table, inside in values.items() if table != "hooks"}, called)

    def _changed(
        self, values: Mapping[str, Any], called: str, options: Mapping[tuple[str | int, ...], str] | None = None
    ) -> SearchSpace:
        """The space of these values, with the hooks of this one."""
        return parse_space(values, called, options).model_copy(update={"hooks": self.hooks})

    def from_command_line(self, values: Mapping[str, Any]) -> SearchSpace:
        """The space of what `to_dict` gave, as options changed it. Raises InputError, which names these options."""
        return self._changed(values, "command line", OPTIONS)

    def digest(self) -> str:
        """Sixteen hexadecimal digits that change with anything that `differences` would name, and with nothing else."""
        return hashlib.sha256(json.dumps(self._essence(), sort_keys=True).encode()).hexdigest()[:16]

    def _essence(self) -> dict[str, Any]:
        values = self.to_dict()
        # Where the images lie may differ from host to host; whether they are the same, their fingerprint tells.
        values["study"] = {key: values["study"][key] for key in ("seed", "repeats")}
        values.get("data", {}).pop("source", None)
        for key in ("python", "epoch_seconds"):  # so may the interpreter, and how long it is waited for
            values.get("train", {}).pop(key, None)
        return values

    def with_overrides(
        self,
        *,
        trials: int | None = None,
        timeout: str | None = None,
        max_device_hours: float | None = None,
        target: float | None = None,
        patience: int | None = None,
        seed: int | None = None,
        source: str | None = None,
        name: str | None = None,
    ) -> SearchSpace:
        """The space with what the command line says instead. Raises InputError: "--trials: must be >= 1, but is 0."."""
        values = self.to_dict()
        given = {
            ("study", "trials"): trials,
            ("study", "timeout"): timeout,
            ("study", "max_device_hours"): max_device_hours,
            ("study", "target"): target,
            ("study", "patience"): patience,
            ("study", "seed"): seed,
            ("data", "source"): source,
            ("study", "name"): name,
        }
        for (table, key), value in given.items():
            if value is not None:
                values.setdefault(table, {})[key] = value
        return self.from_command_line(values)

    def with_data(self, data: DataSpec) -> SearchSpace:
        """The space over other data. Raises InputError if it doesn't fit: a batch above the training images."""
        return self._changed({**self.to_dict(), "data": data.model_dump(exclude_none=True)}, "data")


def differences(old: SearchSpace, new: SearchSpace) -> list[str]:
    """What changed from `old` to `new`, a line each; another name or budget is no difference.

    Empty exactly where the digests are equal.
    """
    lines = []
    before, after = _flat(old._essence()), _flat(new._essence())
    for key in sorted(before.keys() | after.keys()):
        was, now = before.get(key), after.get(key)
        if was != now:
            table, name = key
            shown = [as_toml(value, 80) if value is not None else "not there" for value in (was, now)]
            lines.append(f"[{table}] {name}: was {shown[0]}, is now {shown[1]}")
    return lines


def _flat(values: Mapping[str, Mapping[str, Any]]) -> dict[tuple[str, str], Any]:
    tables = {table: enumerate(each, 1) if isinstance(each, list) else each.items() for table, each in values.items()}
    return {(table, str(key)): value for table, inside in tables.items() for key, value in inside}


class NetworkSpace(SearchSpace):
    """A space over a Keras network of one's own."""

    model: ModelSpec
    space: NetworkTable  # type: ignore[assignment]
    baseline: tuple[NetworkBaseline, ...] | None = None  # type: ignore[assignment]

    def _config_of(self, values: Mapping[str, Any], seed: int) -> TrainConfig:
        ours = {name: value for name, value in values.items() if name in NetworkTable.ours}
        network = {name: value for name, value in values.items() if name not in ours}
        return TrainConfig(**ours, network=network, seed=seed)

    @property
    def build_parameters(self) -> tuple[str, ...]:
        """The names that the network is built with."""
        return tuple(name for name in self.parameters() if name not in NetworkTable.ours)


class OwnSpace(SearchSpace):
    """A space over training of one's own."""

    study: OwnStudySpec
    train: TrainSpec
    space: OwnTable  # type: ignore[assignment]
    baseline: tuple[OwnBaseline, ...] | None = None  # type: ignore[assignment]

    pruner: PrunerSpec = ReachSpec().for_metric(accuracy=False)

    _not_stored: ClassVar[set[str]] = {"data", "hooks"}

    @field_validator("pruner")
    @classmethod
    def _margin_is_a_share_of_the_spread(cls, pruner: PrunerSpec) -> PrunerSpec:
        return pruner.for_metric(accuracy=False) if isinstance(pruner, ReachSpec) else pruner

    def _more_disagreements(self) -> list[str]:
        lines = super()._more_disagreements()
        if "data" in self.model_fields_set:
            lines.append(
                "[data] goes with networks that alexsearch trains: training of one's own reads its own. Leave it out."
            )
        name = self.train.epochs
        if not isinstance(name, str):
            return lines
        parameters = self.parameters()
        parameter = parameters.get(name)
        if parameter is None:
            known = closest(name, list(parameters))
            return [*lines, f"[train]: epochs names {as_toml(name)}, which is not in [space].{known}"]
        if not _counts_from_one(parameter):
            lines.append(f"[space.{name}]: is the number of epochs ([train]), so it must be whole and >= 1.")
        if name in parameters.conditions:
            lines.append(f"[space.{name}]: is the number of epochs ([train]), which every trial has: leave when out.")
        return lines

    @property
    def trains_own(self) -> bool:
        return True

    @property
    def metric(self) -> str:
        return self.train.metric

    @property
    def direction(self) -> Direction:
        return self.train.direction

    @property
    def max_epochs(self) -> int:
        epochs = self.train.epochs
        return self._largest(epochs) if isinstance(epochs, str) else epochs or 1

    def epochs_of(self, params: Mapping[str, Any]) -> int:
        epochs = self.train.epochs
        return int(params.get(epochs, self.max_epochs)) if isinstance(epochs, str) else epochs or 1

    @property
    def max_batch_size(self) -> None:
        return None

    def _config_of(self, values: Mapping[str, Any], seed: int) -> OwnConfig:
        return OwnConfig(params=dict(values), epochs=self.epochs_of(values), seed=seed)


def _counts_from_one(parameter: Parameter) -> bool:
    values = parameter.choices if isinstance(parameter, Choices) else (parameter,)
    if isinstance(parameter, Range):
        values = (parameter.low, parameter.high)
    return all(isinstance(value, int) and not isinstance(value, bool) and value >= 1 for value in values)


def space_kind(document: Mapping[str, Any]) -> type[SearchSpace]:
    """Which of them a document is."""
    return OwnSpace if "train" in document else NetworkSpace if "model" in document else SearchSpace


def parse_space(
    document: Mapping[str, Any], called: str, options: Mapping[tuple[str | int, ...], str] | None = None
) -> SearchSpace:
    """`document`, as TOML or JSON gives it, as a checked space. Raises InputError, its lines starting with `called`."""
    values = with_tuples(document)
    kind = space_kind(values)
    try:
        return kind.model_validate(values, strict=True)
    except ValidationError as error:
        mistakes = list(explain(error, kind, called, options))
        places = [details["loc"] for details in error.errors(include_url=False, include_context=False)]
        if () not in places:  # then the tables have not been compared yet: compare those that could be read
            mistakes += [f"{called} {line}" for line in _disagreements_of_the_readable(kind, values, places)]
        raise InputError(mistakes) from None


def _disagreements_of_the_readable(
    kind: type[SearchSpace], values: Mapping[str, Any], wrong: Collection[tuple[int | str, ...]]
) -> list[str]:
    """What the tables without mistakes disagree on, so that correcting a file takes one round, not two."""
    table: Any = kind.model_fields["space"].annotation

    def unnamed(name: str) -> Parameter | None:
        default: Parameter | None = SpaceTable.model_fields[name].default if kind is SearchSpace else None
        return default

    if ("space",) in wrong or not isinstance(values.get("space"), Mapping):
        return []
    ours = table.ours
    named = {**dict.fromkeys(name for name in NAMES if name in ours), **values["space"]}
    entries = {
        name: (
            SpaceTable.model_fields[name].default if name in SpaceTable.model_fields and kind is SearchSpace else None
        )
        if raw is None
        else parse_parameter(name, raw, ours=name in ours)
        for name, raw in named.items()
        if ("space", name) not in wrong and (raw is not None or name in ours)
    }
    sound = {table: values[table] for table in values if not any(place[0] == table for place in wrong)}
    data = DataSpec.model_validate(sound["data"], strict=True) if "data" in sound else None
    pruner = TypeAdapter(PrunerSpec).validate_python(sound["pruner"], strict=True) if "pruner" in sound else None
    sampler = TypeAdapter(SamplerSpec).validate_python(sound["sampler"], strict=True) if "sampler" in sound else None
    given = sound.get("baseline", ())
    baselines = [
        kind._baseline_kind().model_validate(each, strict=True).given()
        for each in (given if isinstance(given, tuple) else (given,))
    ]
    whole = "constraints" in sound and not any(place[0] == "space" for place in wrong)
    constraints = ConstraintsSpec.model_validate(sound["constraints"], strict=True) if whole else None
    return disagreements(Parameters(entries, ours, values["space"]), data, pruner, sampler, baselines, constraints)
