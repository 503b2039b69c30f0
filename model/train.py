"""Trains one configuration after another, fast, in one process.

    alexsearch seed-report --epochs 2

follows the report's learning curve with its own settings.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import tensorflow as tf

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
        self._averages = program.Averages({}, tf.Variable(0.0, trainable=False))
        self._mirrored: keras.Model | None = None
        self._is_mirrored = False

    @property
    def network(self) -> keras.Model:
        """The Keras model with the weights and the dropout rate of the training that ran last: the averaged weights if
        it averaged them, and looking at the mirror image too if it did.
        """
        if not self._is_mirrored:
            return self._network
        if self._mirrored is None:
            self._mirrored = network.with_mirror_image(self._network)
        return self._mirrored

    def _prepare(self, config: TrainConfig) -> Mapping[str, npt.NDArray[np.float32]]:
        network.set_dropout(self._network, config.dropout)
        self._is_mirrored = config.mirrored
        self._averages.decay.assign(config.averaging)
        return network.initial_weights(self._network, config.seed)

    def _read(self) -> dict[str, npt.NDArray[np.float32]]:
        return network.read_weights(self._network)

    def _assign(self, values: Mapping[str, npt.NDArray[np.float32]]) -> None:
        network.assign_weights(self._network, values)

    def _compiled_training(self, variant: program.Variant, precision: str, accumulators: Accumulators) -> Program:
        averages = self._averages if variant.averages else None
        return program.training_program(self._variables, accumulators, variant, precision, self._device.xla, averages)

    def _compiled_validation(self, config: TrainConfig) -> Program:
        scored = self._averages_of(config) or self._variables
        return program.validation_program(scored, config.precision, self._device.xla, mirrored=config.mirrored)

    def _averages_of(self, config: TrainConfig) -> Mapping[str, tf.Variable]:
        if not config.averaging:
            return {}
        if not self._averages.weights:
            copies = {name: tf.Variable(weight, trainable=False) for name, weight in self._variables.items()}
            self._averages = self._averages._replace(weights=copies)
        return self._averages.weights
