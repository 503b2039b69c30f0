"""Keras as this project needs it: on TensorFlow, float32, channels last, whatever the user's own settings say.

    from model.our_keras import keras

Nothing else imports Keras: KERAS_BACKEND, its other variables and keras.json are for the user's own programs, and would
have our network built of other numbers, or not at all. KERAS_HOME stays: CIFAR-10 is kept there.
"""

from __future__ import annotations

import os
from typing import Any

from model.config import ModelError

for _name in [name for name in os.environ if name.startswith("KERAS_") and name != "KERAS_HOME"]:
    del os.environ[_name]
os.environ["KERAS_BACKEND"] = "tensorflow"

try:
    import keras
except (ValueError, AttributeError) as error:  # a value in keras.json that Keras does not know, or no table at all
    raise ModelError(
        f"Keras does not start ({error}). Mend or remove its settings, keras.json in ~/.keras or KERAS_HOME."
    ) from error

if keras.config.backend() != "tensorflow":
    raise ModelError(
        f"Keras runs on {keras.config.backend()} in this process already. Import alexsearch's functions in a process "
        "of their own, or set KERAS_BACKEND=tensorflow before Keras is imported."
    )
keras.config.set_floatx("float32")
keras.config.set_epsilon(1e-7)
keras.config.set_image_data_format("channels_last")


def global_seed_generator() -> Any:
    """Where Keras' random functions draw from that are given no seed; Keras shows it nowhere else."""
    from keras.src.random import seed_generator

    return seed_generator.global_seed_generator()


__all__ = ["global_seed_generator", "keras"]
