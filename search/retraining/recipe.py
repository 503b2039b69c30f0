"""The best configuration of a study as a file: all that `retrain` needs, readable and editable by a person.

    recipe = make_recipe(study="quick", trial=7, value=0.61, config=config, ...)
    write_recipe(recipe, Path("best.toml"))     # or best.json
    recipe = read_recipe(Path("best.toml"))     # checked whole; recipe.edited tells whether it was changed since

A recipe is a fact about a trial that has run: its precision is the one it ran in, never "auto". Its digest covers what
a retraining depends on (configuration, data, fingerprint), so whoever edits these is told, not refused.

A network of one's own has a `NetworkRecipe`, training of one's own an `OwnRecipe`: they name the file, whose SHA-256
says whether it has changed since.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, field_validator

from model.config import ALEXNETS, DataSpec, EpochMetrics, Frozen, TrainConfig
from model.files import write_text
from search.base.mistakes import InputError, explain, read_json, read_toml
from search.base.overwriting import check_file
from search.base.provenance import utc
from search.base.toml import as_shown, as_toml, toml_key, with_tuples
from search.space.own import ModelSpec, OwnConfig, OwnEpoch, TrainSpec

FORMAT_VERSION = 1

_COMMENTS = {
    "study_uid": "tells it from any other study of that name",
    "value": "validation accuracy of its last epoch",
    "created": "UTC",
    "device": "what it ran on",
    "data_fingerprint": "of all training images of the source",
    "digest": "over [config], [data] and data_fingerprint: tells whether they were edited since",
    **{f"config.{name}": field.description for name, field in TrainConfig.model_fields.items()},
    "data.source": "cifar10, digits, synthetic, a .npz file or an image folder",
    "data.train_images": "how many the search trained on; retrain takes all",
    "data.validation_images": "held out of the training images by the search",
    "data.split_seed": "decides which",
}
_OWN_COMMENTS = {
    **{key: _COMMENTS[key] for key in ("study_uid", "created", "device")},
    "value": "the metric, as its last report had it",
    "data_fingerprint": "of the files that [train] names: tells whether they have changed since",
    "digest": "over [config], [train] and data_fingerprint: tells whether they were edited since",
    "config.epochs": "planned; 1 if the training has none",
    "config.seed": "what the training gets as trial.seed",
}

Text = Annotated[str, Field(min_length=1, max_length=1000)]


class Curve(Frozen):
    """The trial's learning curve during the search."""

    epochs: tuple[EpochMetrics, ...]


class Recipe(Frozen):
    """One configuration, where it came from, and what it scored. Made by `make_recipe` or `read_recipe`."""

    format_version: Annotated[int, Field(ge=1, le=FORMAT_VERSION, strict=True)] = FORMAT_VERSION
    study: Text
    study_uid: Text | None = None
    """The study's `uid`: by it, retraining finds where to write its score down."""
    trial: Annotated[int, Field(ge=0, strict=True)]
    """The trial's number in its study, from 0."""
    value: Annotated[float, Field(ge=0, le=1)]
    """What the search compared: validation accuracy, 0 to 1."""
    created: str
    """When the recipe was exported: UTC, ISO 8601."""
    git_commit: Text | None = None
    """The commit that trained the trial, if it was known."""
    device: Text
    data_fingerprint: Text
    digest: Text
    """What `essence_digest` gave at export."""
    config: TrainConfig
    data: DataSpec
    versions: dict[str, str]
    """Package: version, as the trial ran."""
    curve: Curve

    @field_validator("created")
    @classmethod
    def _created_is_a_time(cls, created: str) -> str:
        try:
            datetime.fromisoformat(created)
        except ValueError:
            raise ValueError("must be a time as in 2026-01-31T12:00:00Z") from None
        return created

    @field_validator("config")
    @classmethod
    def _precision_is_known(cls, config: TrainConfig | OwnConfig) -> TrainConfig | OwnConfig:
        if isinstance(config, TrainConfig) and config.precision == "auto":
            raise ValueError('precision must be "float32" or "bfloat16", whichever the trial ran in, but is "auto"')
        return config

    @property
    def history(self) -> tuple[EpochMetrics, ...]:
        """The trial's epochs during the search, from the first."""
        return self.curve.epochs

    @property
    def metric(self) -> str:
        """The name of what the search optimised."""
        return "val_accuracy"

    @property
    def edited(self) -> bool:
        """Whether the configuration or the data was changed since the export: then `value` was not measured with it."""
        return self.digest != essence_digest(*self._essence(), self.data_fingerprint)

    def _essence(self) -> tuple[Frozen, ...]:
        return self.config, self.data

    def document(self) -> dict[str, Any]:
        """The recipe as JSON holds it; `read_recipe` reads it as well."""
        return self.model_dump(mode="json", exclude_none=True)


class NetworkRecipe(Recipe):
    """That of a network of one's own."""

    model: ModelSpec
    network_sha256: Text
    """Of the file that builds it."""

    def _essence(self) -> tuple[Frozen, ...]:
        return self.config, self.data, self.model


class OwnCurve(Frozen):
    """The learning curve of training of one's own."""

    epochs: tuple[OwnEpoch, ...]


class OwnRecipe(Recipe):
    """That of training of one's own."""

    value: float
    """The study's metric, as the last report had it."""
    data_fingerprint: Text
    """Of the training's file: what it trains on is its own matter."""
    config: OwnConfig  # type: ignore[assignment]
    data: None = None  # type: ignore[assignment]
    train: TrainSpec
    curve: OwnCurve  # type: ignore[assignment]

    @property
    def metric(self) -> str:
        return self.train.metric

    def _essence(self) -> tuple[Frozen, ...]:
        return self.config, self.train.model_copy(update={"python": None})


def recipe_kind(document: Mapping[str, Any]) -> type[Recipe]:
    """Which of them a document is."""
    return OwnRecipe if "train" in document else NetworkRecipe if "model" in document else Recipe


def make_recipe(
    *,
    study: str,
    study_uid: str | None = None,
    trial: int,
    value: float,
    config: TrainConfig | OwnConfig,
    data: DataSpec | None,
    data_fingerprint: str,
    versions: Mapping[str, str],
    git_commit: str | None,
    device: str,
    history: Sequence[EpochMetrics | OwnEpoch],
    created: datetime | None = None,
    own: Mapping[str, Any] | None = None,
) -> Recipe:
    """The recipe of a finished trial; `config` as it ran (precision resolved), `created` is now unless given.

    `own` are the further keys of a `NetworkRecipe` or an `OwnRecipe`.

    Raises InputError if the trial's record can't make a recipe.
    """
    kind = recipe_kind(own or {})
    curve: type[Curve | OwnCurve] = OwnCurve if kind is OwnRecipe else Curve
    try:
        recipe = kind(
            study=study,
            study_uid=study_uid,
            trial=trial,
            value=value,
            created=utc(created),
            git_commit=git_commit,
            device=device,
            data_fingerprint=data_fingerprint,
            digest="-",
            config=config,
            data=data,
            versions=dict(versions),
            curve=curve(epochs=tuple(history)),
            **(own or {}),
        )
        return recipe.model_copy(update={"digest": essence_digest(*recipe._essence(), data_fingerprint)})
    except ValidationError as error:
        raise InputError(explain(error, kind, f"study {as_toml(study, 80)}, trial {trial}")) from None


def essence_digest(*parts_and_fingerprint: Frozen | str) -> str:
    """SHA-256, in hexadecimal, over what a retraining depends on; the spelling of the file plays no part.

    Values that are the default are left out, so that a recipe from before a setting existed is not taken for edited.
    """
    essence = [
        part if isinstance(part, str) else part.model_dump(mode="json", exclude_defaults=True)
        for part in parts_and_fingerprint
    ]
    return hashlib.sha256(json.dumps(essence, sort_keys=True).encode()).hexdigest()


def recipe_toml(recipe: Recipe, name: str = "best.toml") -> str:
    """The recipe as a TOML document; `name` is the file's name in the command that it shows."""
    values = recipe.model_dump(exclude_none=True)
    tables = {key: values.pop(key) for key in ("train", "model", "config", "data", "versions") if key in values}
    if isinstance(recipe, NetworkRecipe):
        for alone in ALEXNETS:
            tables["config"].pop(alone)
    epochs = values.pop("curve")["epochs"]
    known = _OWN_COMMENTS if isinstance(recipe, OwnRecipe) else _COMMENTS
    lines = [
        f"# The configuration of trial {recipe.trial} of study {as_toml(recipe.study)}, {_score(recipe)}.",
        "# Run it again with fresh seeds, as its final training:"
        if isinstance(recipe, OwnRecipe)
        else "# Train it on all training images, then open the test set once:",
        "#",
        f"#   alexsearch retrain {shlex.quote(as_shown(Path(name)))}",
        "",
        *_assignments(values, "", known),
    ]
    for table, inside in tables.items():
        lines += ["", f"[{table}]", *_assignments(inside, f"{table}.", known)]
    lines += ["", "# The learning curve of the search, one epoch a line.", "[curve]", "epochs = ["]
    lines += [f"  {as_toml(epoch)}," for epoch in epochs]
    return "\n".join([*lines, "]", ""])


def _score(recipe: Recipe) -> str:
    accuracy = recipe.metric == "val_accuracy"
    return f"validation accuracy {recipe.value:.4f}" if accuracy else f"{recipe.metric} {recipe.value:.6g}"


def _assignments(values: Mapping[str, Any], prefix: str, known: Mapping[str, str | None]) -> list[str]:
    """`key = value` lines, their comments lined up."""
    lines = [f"{toml_key(key)} = {as_toml(value)}" for key, value in values.items()]
    comments = [known.get(prefix + key) for key in values]
    width = max(
        (len(line) for line, comment in zip(lines, comments, strict=True) if comment and len(line) < 60), default=0
    )
    noted = []
    for line, note in zip(lines, comments, strict=True):
        if note and len(line) >= 60:
            noted += [f"# {note[0].upper()}{note[1:]}.", line]
        else:
            noted.append(f"{line.ljust(width)}  # {note}" if note else line)
    return noted


def write_recipe(recipe: Recipe, path: Path, *, force: bool = False) -> None:
    """Writes the recipe to `path`, whole or not at all: aside, synced, renamed. Folders on the way are made.

    As JSON if `path` ends in .json, else as TOML. What is no recipe, or was edited, is replaced only with `force`.

    Raises InputError if `path` can't be such a file, and OSError, worded with the path, if the disk fails or is
    full; the file that was there before is then still whole.
    """
    shown = as_shown(path)
    try:
        target = path.resolve()  # a link stays a link, to a new file
        is_folder, is_other = target.is_dir(), target.exists() and not target.is_file()
    except (OSError, ValueError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"{shown}: can't be written ({reason}). Name another file.") from None
    if is_folder:
        raise InputError(f"{shown}: is a folder. Name a file in it, e.g. {as_shown(path / 'best.toml')}.")
    if is_other:
        raise InputError(f"{shown}: is not an ordinary file. Name another one, e.g. best.toml.")
    if not is_json(path) and path.suffix.lower() != ".toml":
        raise InputError(
            f"{shown}: a recipe is a .toml or a .json file. Name it so, e.g. {as_shown(path.with_suffix('.toml'))}."
        )
    check_file(path, force=force, is_ours=is_untouched)
    try:
        if is_json(path):
            write_text(target, json.dumps(recipe.document(), indent=2, ensure_ascii=False) + "\n")
        else:
            write_text(target, recipe_toml(recipe, path.name))
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        raise InputError(f"{shown}: can't be written ({error.strerror}). Name a file in another folder.") from error
    except OSError as error:
        raise OSError(error.errno, f"{shown}: can't be written ({error.strerror}). Nothing was changed.") from error


def is_untouched(path: Path) -> bool:
    """Whether a file is a recipe as it was exported."""
    try:
        return not read_recipe(path).edited
    except InputError:
        return False


def is_json(path: Path) -> bool:
    """Whether a recipe in this file is JSON: by its name."""
    return path.suffix.lower() == ".json"


def read_recipe(path: Path) -> Recipe:
    """The recipe in `path`, checked whole. Raises InputError with everything that is wrong with it."""
    name = as_shown(path)
    document = read_json(path) if is_json(path) else read_toml(path)
    version = document.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise InputError(
            f"{name}: format_version is {as_toml(version)}, but this alexsearch reads recipes up to {FORMAT_VERSION}. "
            "Update alexsearch, or export the recipe again with this one."
        )
    if "format_version" not in document and "space" in document:
        raise InputError(
            f"{name}: is a space file, not a recipe. `alexsearch run {shlex.quote(name)}` searches it; `alexsearch "
            "export -o best.toml` then writes its best trial as a recipe."
        )
    if "format_version" not in document:
        raise InputError(
            f"{name}: is not a recipe, or was cut short: it has no format_version. `alexsearch export -o best.toml` "
            "writes one."
        )
    try:
        return recipe_kind(document).model_validate(with_tuples(document), strict=True)
    except ValidationError as error:
        raise InputError(explain(error, recipe_kind(document), name)) from None
