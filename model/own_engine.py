"""Trains networks of one's own, as `model.train` trains the AlexNet: an epoch is one compiled program.

A network is built anew for every training, for its first weights are those that its own initialisers draw from the
seed. Where it is made of Keras' own layers alone and is the same as the one before, that one and its programs are kept,
and only the weights are taken over.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from model import own_network, own_program, program
from model.config import EpochMetrics, NetworkSpec, TrainConfig, TrainError, ValuesError
from model.data import ImageSet
from model.device import Device
from model.loop import Accumulators, Loop, Program, Progress
from model.our_keras import keras
from model.own_network import OwnNetwork


class OwnEngine(Loop):
    """That of one file and function."""

    def __init__(self, train: ImageSet, validation: ImageSet | None, device: Device, spec: NetworkSpec) -> None:
        """Load the file and put both sets of images on the device.

        Raises:
            NetworkError: the file can't be used.
        """
        self._spec = spec
        self._builder = own_network.load_builder(spec)
        on_device = own_program.on_device
        super().__init__(train, device, on_device(train), None if validation is None else on_device(validation))
        height, width, channels = train.images.shape[1:]
        self._image_shape = (height, width, channels)
        self._classes = len(train.class_names)
        self._network: OwnNetwork | None = None
        self._built_for: tuple[Any, ...] = ()
        self._config: TrainConfig | None = None
        self._weights: dict[str, keras.Variable] = {}

    @property
    def network(self) -> keras.Model:
        """A plain Keras model, uint8 images to probabilities, with the weights of the training that ran last.

        Raises:
            ValuesError: it can't be built again, in float32.
        """
        if self._config is None:
            raise RuntimeError("nothing was trained yet")
        trained = [variable.numpy() for variable in self._own.model.variables]
        model = self._build(self._config, "float32")
        shapes = [tuple(variable.shape) for variable in model.variables]
        if shapes != [value.shape for value in trained]:
            raise ValuesError(f"{self._spec.file} builds another network of the same values and seed.")
        for variable, value in zip(model.variables, trained, strict=True):
            variable.assign(value)
        own, shape = self._own, self._image_shape
        return own_network.for_others(self._spec, model, shape, probabilities=own.probabilities, raw=own.raw)

    @property
    def _own(self) -> OwnNetwork:
        if self._network is None:
            raise RuntimeError("nothing was trained yet")
        return self._network

    def _epoch(self, config: TrainConfig, epoch: int, on_progress: Callable[[Progress], None] | None) -> EpochMetrics:
        try:
            return super()._epoch(config, epoch, on_progress)
        except (TrainError, tf.errors.ResourceExhaustedError):
            raise
        except Exception as error:
            if own_network.is_of(error, self._spec):
                raise own_network.failed(self._spec, error, f"in epoch {epoch}") from error
            raise

    def _build(self, config: TrainConfig, precision: str) -> Any:
        return own_network.build(
            self._spec,
            self._builder,
            self._image_shape,
            self._classes,
            config.network or {},
            seed=config.seed,
            precision=precision,
        )

    def _prepare(self, config: TrainConfig) -> Mapping[str, npt.NDArray[np.float32]]:
        self._config = config
        built_for = (config.network, config.precision)
        if built_for != self._built_for:
            self._drop()  # before the next one takes its room
        model = self._build(config, config.precision)
        if self._network is not None and self._is_same(self._network, model):
            own_network.check_is_new(self._spec, model)
            return _values(dict(zip(self._weights, model.variables, strict=True)))
        self._drop()
        self._network = own_network.checked(self._spec, model, self._image_shape, self._classes)
        self._built_for = built_for
        self._weights = {f"{number}/{each.path}": each for number, each in enumerate(self._network.variables)}
        trained = {id(weight) for weight in model.trainable_variables}
        self._trainable = {name: weight.value for name, weight in self._weights.items() if id(weight) in trained}
        return _values(self._weights)

    def _is_same(self, kept: OwnNetwork, model: Any) -> bool:
        """Whether the kept network is `model` but for its weights: code of the user's own may hold more than those."""
        if kept.own_parts or not isinstance(model, keras.Model):
            return False
        return own_network.described_by(self._spec, model) == kept.described

    def _drop(self) -> None:
        """Forget the network and all that was compiled for it."""
        if self._network is None:
            return
        self._network, self._built_for = None, ()
        self._programs, self._accumulators = {}, {}
        self._weights, self._trainable = {}, {}
        gc.collect()

    def _read(self) -> dict[str, npt.NDArray[np.float32]]:
        return _values(self._weights)

    def _assign(self, values: Mapping[str, npt.NDArray[np.float32]]) -> None:
        for name, weight in self._weights.items():
            weight.assign(_decoded(values[name], weight))

    def _data_fingerprint(self) -> str:
        return f"{super()._data_fingerprint()} by {self._spec.sha256}"

    def _compiled_training(self, variant: program.Variant, _precision: str, accumulators: Accumulators) -> Program:
        trained = {name: self._weights[name] for name in self._trainable}
        return own_program.training_program(
            self._own, self._image_shape, trained, accumulators, variant, self._device.xla
        )

    def _compiled_validation(self, _config: TrainConfig) -> Program:
        return own_program.validation_program(self._own, self._image_shape, self._device.xla)


def _values(weights: Mapping[str, keras.Variable]) -> dict[str, npt.NDArray[np.float32]]:
    """The weights as a checkpoint takes them: what is not float32 (counters, states of random layers) as its bits."""
    return {name: _encoded(weight.numpy()) for name, weight in weights.items()}


def _encoded(value: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    if value.dtype == np.float32:
        return value
    bits = value.tobytes()
    return np.frombuffer(bits + bytes(-len(bits) % 4), np.float32)


def _decoded(value: npt.NDArray[np.float32], weight: keras.Variable) -> npt.NDArray[Any]:
    dtype = tf.as_dtype(weight.dtype).as_numpy_dtype
    if dtype == np.float32:
        return value
    shape = tuple(weight.shape)
    return np.frombuffer(value.tobytes(), dtype)[: int(np.prod(shape))].reshape(shape)
