"""Trains one configuration after another, fast, in one process.

    alexsearch seed-report --epochs 2

follows the report's learning curve with its own settings.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from model import network, program
from model.config import TrainConfig
from model.data import ImageSet
from model.device import Device
from model.loop import Accumulators, Loop, Program, Progress
from model.our_keras import keras

__all__ = ["Engine", "Progress"]


class Engine(Loop):
    """The AlexNet's."""

    def __init__(self, train: ImageSet, validation: ImageSet | None, device: Device) -> None:
        """Build the network and put both sets of images on the device."""
        self._network = network.build_alexnet(len(train.class_names))
        on_device = program.on_device
        super().__init__(train, device, on_device(train), None if validation is None else on_device(validation))
        weights = network.weights_of(self._network)
        self._variables = {name: weight.value for name, weight in weights.items()}
        self._trainable = {name: weight.value for name, weight in weights.items() if weight.trainable}

    @property
    def network(self) -> keras.Model:
        """The plain Keras model with the weights and the dropout rate of the training that ran last."""
        return self._network

    def _prepare(self, config: TrainConfig) -> Mapping[str, npt.NDArray[np.float32]]:
        network.set_dropout(self._network, config.dropout)
        return network.initial_weights(self._network, config.seed)

    def _read(self) -> dict[str, npt.NDArray[np.float32]]:
        return network.read_weights(self._network)

    def _assign(self, values: Mapping[str, npt.NDArray[np.float32]]) -> None:
        network.assign_weights(self._network, values)

    def _compiled_training(self, variant: program.Variant, precision: str, accumulators: Accumulators) -> Program:
        return program.training_program(self._variables, accumulators, variant, precision, self._device.xla)

    def _compiled_validation(self, precision: str) -> Program:
        return program.validation_program(self._variables, precision, self._device.xla)
