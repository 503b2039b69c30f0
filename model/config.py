"""The values that training takes and gives: frozen, checked, and the same in TOML, JSON and the database.

This module imports neither TensorFlow nor NumPy, so whatever only reads or checks a configuration starts fast.
The rules below are the only place where a hyperparameter's range is written down: the space file, the recipe and
the training process all check against them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

Precision = Literal["auto", "float32", "bfloat16"]
Schedule = Literal["constant", "step", "cosine", "linear"]
Optimizer = Literal["sgd", "nesterov", "adam", "adamw"]
Augmentation = Literal["none", "flip", "flip_shift", "flip_shift_cutout"]

MOMENTUM_OPTIMIZERS = ("sgd", "nesterov")
DECAY_OPTIMIZERS = ("sgd", "nesterov", "adamw")

PositiveInt = Annotated[int, Field(ge=1, strict=True)]
Scalar = bool | int | float | str
"""A value of a parameter that a user named."""


class Frozen(BaseModel):
    """A value that never changes once made, and that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True)
class Hyperparameter:
    """What a field of `TrainConfig` that a search may choose says of itself, beside its type, bounds and default."""

    example: Any = None
    """What a message suggests to whoever left it out of a space that must have it."""
    beyond: bool = False
    """Whether the paper did not choose between values of it: its default is then the paper's value."""
    parent: str = ""
    """It exists only where this other hyperparameter, which stands before it, ..."""
    allowed: tuple[str, ...] = ()
    """... has one of these values."""
    needed: tuple[str, ...] = ()
    """With which of these a space must have it."""
    after: str = ""
    """A trial is asked for it after this one, though it stands before it."""


def _rising(value: int | tuple[int, ...] | None) -> int | tuple[int, ...] | None:
    if isinstance(value, tuple) and (not value or list(value) != sorted(set(value))):
        raise ValueError("a list of epochs must not be empty and must rise, as in [10, 20]")
    return value


class TrainConfig(Frozen):
    """All that decides how one network is trained, next to the data it is trained on.

    A field with a `Hyperparameter` may be searched: spaces, baselines, samplers and recipes have it from here. Its
    `description` is the comment that a recipe has beside it.

    A variant is `config.model_copy(update={...})` followed by validation, or simply `TrainConfig(**{**old, **new})`.
    """

    batch_size: Annotated[PositiveInt, Field(description="images a step"), Hyperparameter(example=32)]
    """Images a step. An incomplete last batch of an epoch is dropped, as in the paper."""
    learning_rate: Annotated[
        float,
        Field(gt=0, le=1e3, description="of the first epoch"),
        Hyperparameter(example={"low": 1e-4, "high": 0.1, "log": True}),
    ]
    """Learning rate of the first epoch."""
    epochs: Annotated[
        int,
        Field(ge=1, le=100_000, strict=True, description="passes over the training images"),
        Hyperparameter(example={"low": 5, "high": 50}, after="schedule"),
    ]
    """Passes over the training images."""
    schedule: Annotated[Schedule, Field(description='"constant", "step", "cosine" or "linear"'), Hyperparameter()] = (
        "constant"
    )
    """How the learning rate falls from epoch to epoch; `model.schedule` has the formulas."""
    step_epochs: Annotated[
        PositiveInt | tuple[PositiveInt, ...] | None,
        AfterValidator(_rising),
        Field(description="a number: every so many epochs; a list: after these epochs"),
        Hyperparameter(example=(10, 20), parent="schedule", allowed=("step",), needed=("step",)),
    ] = None
    """With `schedule = "step"`: a number n multiplies the learning rate by `step_factor` after every n epochs
    (PyTorch's StepLR); a list does it after each of these epochs (MultiStepLR). The paper's is [10, 20]."""
    step_factor: Annotated[
        float | None,
        Field(gt=0, lt=1, description="what the learning rate is multiplied by at a step"),
        Hyperparameter(example=0.1, parent="schedule", allowed=("step",), needed=("step",)),
    ] = None
    """With `schedule = "step"`: what the learning rate is multiplied by at each step. The paper's is 0.1."""
    warmup_epochs: Annotated[
        int,
        Field(ge=0, le=1000, strict=True, description="over which the learning rate rises"),
        Hyperparameter(beyond=True),
    ] = 0
    """The learning rate rises evenly over the first n epochs: of 3, the first has a quarter, and epoch 4 all of it."""
    optimizer: Annotated[
        Optimizer, Field(description='"sgd", "nesterov", "adam" or "adamw"'), Hyperparameter(beyond=True)
    ] = "sgd"
    """As Keras has them, with its defaults but for what stands here: "nesterov" is SGD with Nesterov's momentum."""
    momentum: Annotated[
        float,
        Field(ge=0, lt=1, description="of sgd and nesterov"),
        Hyperparameter(example=0.9, beyond=True, parent="optimizer", allowed=MOMENTUM_OPTIMIZERS, needed=("nesterov",)),
    ] = 0.0
    """With `optimizer = "sgd"` or "nesterov"."""
    weight_decay: Annotated[
        float,
        Field(ge=0, le=1, description="of the kernels, times the learning rate"),
        Hyperparameter(example=0.01, beyond=True, parent="optimizer", allowed=DECAY_OPTIMIZERS, needed=("adamw",)),
    ] = 0.0
    """What part of each kernel, times the learning rate, a step takes off it (decoupled, as in AdamW: Loshchilov and
    Hutter 2019). Biases and BatchNormalization have none. Not with "adam", which with it would be "adamw"."""
    dropout: Annotated[float, Field(ge=0, lt=1, description="of both hidden layers"), Hyperparameter(beyond=True)] = 0.5
    """What part of the units of both hidden layers a training step leaves out."""
    label_smoothing: Annotated[
        float,
        Field(ge=0, lt=1, description="part of a target that is spread over all classes"),
        Hyperparameter(beyond=True),
    ] = 0.0
    """What part of each target is spread evenly over all classes. Every loss that is reported is the one without it."""
    augmentation: Annotated[
        Augmentation,
        Field(description='"none", "flip", "flip_shift" or "flip_shift_cutout"'),
        Hyperparameter(beyond=True),
    ] = "none"
    """What is done to each training image anew in every epoch: mirrored left to right half of the time; shifted by up
    to 4 pixels each way, what comes in being the image's own reflection; and a square of 16 pixels cut out of it
    (DeVries and Taylor 2017), which is zero once the image is standardised: its mean."""
    averaging: Annotated[
        float,
        Field(ge=0, lt=1, description="decay a step of the average of the weights; 0: the last ones"),
        Hyperparameter(beyond=True),
    ] = 0.0
    """What is validated, and saved as the network, is an exponential moving average of the weights: each step leaves so
    much of it and takes the rest from the weights (`model.optimizers.average`). 0 takes the last weights themselves."""
    mirrored: Annotated[
        bool,
        Field(strict=True, description="whether an image's mirror image is classified too, and the mean taken"),
        Hyperparameter(beyond=True),
    ] = False
    """Whether the network's answer is the mean of its probabilities for an image and for the image mirrored left to
    right: in validation, in the saved network and in what is converted from it. Training knows nothing of it."""
    network: Annotated[dict[str, Scalar] | None, Field(description="what a network of one's own is built with")] = None
    """The keyword arguments of a network of one's own (`NetworkSpec`); None for the AlexNet."""
    seed: Annotated[
        int,
        Field(ge=0, lt=2**32, strict=True, description="initial weights, order of the images, augmentation, dropout"),
    ] = 0
    """Decides initial weights, the order of the images, augmentation and dropout: all derive from it statelessly."""
    precision: Annotated[Precision, Field(description='"float32" or "bfloat16"; weights are always float32')] = "auto"
    """Compute precision; weights are always float32. "auto" is resolved by `model.device` before training starts."""

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    @model_validator(mode="after")
    def _values_belong_together(self) -> Self:
        has_step = self.step_epochs is not None and self.step_factor is not None
        mistakes = []
        if self.schedule == "step" and not has_step:
            mistakes.append('schedule = "step" needs both step_epochs and step_factor, as in [10, 20] and 0.1')
        if self.schedule != "step" and (self.step_epochs is not None or self.step_factor is not None):
            mistakes.append(f'step_epochs and step_factor belong to schedule = "step"; this one is "{self.schedule}"')
        if self.momentum and self.optimizer not in MOMENTUM_OPTIMIZERS:
            mistakes.append(f'momentum belongs to optimizer = "sgd" or "nesterov"; this one is "{self.optimizer}"')
        if self.weight_decay and self.optimizer not in DECAY_OPTIMIZERS:
            mistakes.append('weight_decay does not go with optimizer = "adam"; with it, that is "adamw"')
        if self.warmup_epochs >= self.epochs:
            mistakes.append(
                f"warmup_epochs must be less than epochs: of {self.epochs}, {self.warmup_epochs} leave none to train in"
            )
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return self


HYPERPARAMETERS: Mapping[str, Hyperparameter] = {
    name: about
    for name, field in TrainConfig.model_fields.items()
    for about in field.metadata
    if isinstance(about, Hyperparameter)
}
"""All that a search may choose, as the fields say it."""
BEYOND = tuple(name for name, about in HYPERPARAMETERS.items() if about.beyond)
"""What the paper did not choose between. The defaults are its values: without them a configuration trains as there."""

ALEXNETS = ("dropout", "averaging", "mirrored")
"""What a network of one's own does not heed: its dropout is its own, and neither are its weights averaged nor its
images mirrored when it is scored. All else applies to both."""


def beyond(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of these a configuration's values have otherwise than the paper."""
    defaults = {name: TrainConfig.model_fields[name].default for name in BEYOND}
    return {name: config[name] for name in BEYOND if config.get(name, defaults[name]) != defaults[name]}


BUNDLED_IMAGES = {"digits": 1500, "synthetic": 2000}
"""Training images of the sources that need no download."""


class NetworkSpec(Frozen):
    """A network of one's own: the function in a Python file that builds it."""

    file: Annotated[str, Field(min_length=1)]
    """Absolute path."""
    function: Annotated[str, Field(min_length=1)]
    """Called as `function(image_shape, classes, **TrainConfig.network)`, it returns a keras.Model."""
    sha256: Annotated[str, Field(min_length=64, max_length=64)]
    """Of the file, in hexadecimal: what is trained is what the study was begun with."""


class DataSpec(Frozen):
    """Which images a study trains and validates on. `model.data` says what each source is."""

    source: Annotated[str, Field(min_length=1)] = "cifar10"
    """`cifar10`, `digits`, `synthetic`, or a path: docs/data.md says of what."""
    train_images: PositiveInt | None = None
    """How many images to train on; None takes all that validation leaves."""
    validation_images: PositiveInt = 5000
    """How many of the training images are held out, stratified by class. The test set is never among them. Of a source
    that brings a validation set, nothing is held out, and this says nothing."""
    split_seed: Annotated[int, Field(ge=0, lt=2**32, strict=True)] = 0
    """Decides which images are held out."""
    skip_unreadable: bool | None = None
    """Whether to pass over pictures that can't be decoded, which else are an error. False is kept as None, so that a
    study that never asked for it is stored as it always was."""

    image_size: Annotated[int, Field(ge=1, le=1024, strict=True)] | None = None
    """Only for a network of one's own: images are brought to so many pixels a side. None is their own size."""

    @field_validator("skip_unreadable")
    @classmethod
    def _false_is_the_default(cls, value: bool | None) -> bool | None:
        return value or None


class EpochMetrics(Frozen):
    """What one epoch came to. `loss` and `accuracy` are means over the epoch's own training steps (dropout on)."""

    epoch: PositiveInt
    """Counted from 1."""
    loss: float
    accuracy: float
    val_loss: float | None = None
    val_accuracy: float | None = None
    """None if there are no validation images (`retrain` uses them all)."""
    learning_rate: float
    seconds: float
    """Wall time of training and validation together."""

    def named(self) -> dict[str, Any]:
        """All of it by name: what is stored."""
        return self.model_dump()


class TrainResult(Frozen):
    """What a training came to."""

    config: TrainConfig
    """The configuration as it was run: `precision` is resolved."""
    history: tuple[EpochMetrics, ...]
    """One entry an epoch from the first, those before a resumed checkpoint included."""
    stopped: bool
    """True when `on_epoch` ended it before its last epoch."""


FailureKind = Literal["diverged", "out-of-memory", "data", "disk", "values", "crashed", "error"]


class Failure(Frozen):
    """Why a training failed, in two parts: what is done about it depends on the kind, people read the text."""

    kind: FailureKind
    text: str


class DataError(Exception):
    """The data can't be used as asked: nothing starts. The message says what, where, why and the way out."""


class NetworkError(DataError):
    """The file of a network of one's own can't be used as asked: nothing starts."""


class DownloadError(DataError):
    """The data would have to be downloaded and can't be."""


class TrainError(Exception):
    """A training that failed; `retry` says whether the same run could succeed."""

    kind: FailureKind = "error"
    retry = True

    @property
    def failure(self) -> Failure:
        """As it is told and stored."""
        return Failure(kind=self.kind, text=str(self))


class DivergedError(TrainError):
    """The loss became NaN or infinite: the same configuration would diverge again."""

    kind = "diverged"
    retry = False


class OutOfMemoryError(TrainError):
    """The device or host ran out of memory at this batch size."""

    kind = "out-of-memory"
    retry = False


class ValuesError(TrainError):
    """A network of one's own can't be built of these values, or its code fails: the same values would fail again."""

    kind = "values"
    retry = False


class DiskError(TrainError):
    """What is trained can't be written: no fault of the configuration's."""

    kind = "disk"


class ModelError(Exception):
    """A model file can't be used. The message says what, where, why and the way out."""


class ExportError(Exception):
    """A model can't be brought into another format, or what came out is another model. Nothing was left behind."""
