"""The ways of training that speed.py compares. Each is a process of its own, told one epoch at a time.

    python tests/benchmarks/contenders.py KIND --data cifar10.npz --images 20000

reads a batch size a line, trains one epoch with it, validates, and answers with a line of JSON: its seconds. With
"warm" before it, a few steps are enough. "matmul" is answered with the rate of a matrix product, "memory" with the most
that the process took so far.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model.config import DataSpec, TrainConfig
from model.data import ImageSet, load_training, split
from model.device import available_cores, configure

RATE = 0.001
MATMUL_SIZES = {"cpu": (1024, 2048, 4096), "gpu": (4096, 8192, 16384)}

WARM_STEPS = 5
Epoch = Callable[[int, bool], None]


def ours(train: ImageSet, validation: ImageSet, precision: str) -> tuple[Epoch, dict[str, Any]]:
    """The engine that a search trains with."""
    device = configure()
    from model.train import Engine

    engine = Engine(train, validation, device)

    def epoch(batch_size: int, _warm: bool) -> None:
        config = TrainConfig.model_validate(
            {"batch_size": batch_size, "learning_rate": RATE, "epochs": 1, "precision": precision}
        )
        engine.train(config, lambda _metrics: True)

    return epoch, {"device": device.name, "precision": device.resolve(precision), "xla": device.xla}  # type: ignore[arg-type]


def report(train: ImageSet, validation: ImageSet) -> tuple[Epoch, dict[str, Any]]:
    """The report's way: Keras `fit` over tf.data that standardises, resizes, shuffles the whole set and batches."""
    import keras
    import tensorflow as tf

    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)

    def prepared(images: ImageSet, batch_size: int) -> tf.data.Dataset:
        pairs = tf.data.Dataset.from_tensor_slices((images.images, images.labels))
        resized = pairs.map(lambda x, y: (tf.image.resize(tf.image.per_image_standardization(x), (64, 64)), y))
        return resized.shuffle(len(images.labels)).batch(batch_size, drop_remainder=True)

    network = keras.Sequential([keras.Input((64, 64, 3)), *_report_layers(keras.layers)])
    network.compile(keras.optimizers.SGD(RATE), "sparse_categorical_crossentropy", metrics=["accuracy"])
    data: dict[int, tuple[tf.data.Dataset, tf.data.Dataset]] = {}

    def epoch(batch_size: int, warm: bool) -> None:
        if batch_size not in data:
            data[batch_size] = prepared(train, batch_size), prepared(validation, batch_size)
        steps = {"steps_per_epoch": WARM_STEPS, "validation_steps": 1} if warm else {}
        network.fit(data[batch_size][0], epochs=1, validation_data=data[batch_size][1], verbose=0, **steps)

    return epoch, {"precision": "float32", "parameters": network.count_params()}


def _report_layers(layers: Any) -> Iterable[Any]:
    yield layers.Conv2D(128, 11, strides=4, activation="relu")
    yield from (layers.BatchNormalization(), layers.MaxPooling2D(2))
    yield layers.Conv2D(256, 5, padding="same", activation="relu")
    yield from (layers.BatchNormalization(), layers.MaxPooling2D(3))
    for kernel in (3, 1, 1):
        yield layers.Conv2D(256, kernel, padding="same", activation="relu")
        yield layers.BatchNormalization()
    yield from (layers.MaxPooling2D(2), layers.Flatten())
    for _ in range(2):
        yield from (layers.Dense(1024, activation="relu"), layers.Dropout(0.5))
    yield layers.Dense(10, activation="softmax")


def pytorch(train: ImageSet, validation: ImageSet) -> tuple[Epoch, dict[str, Any]]:
    """The same network in PyTorch: bfloat16 autocast, channels last, and images standardised and resized beforehand.

    That preparation, which the other two do in every epoch, is not in its time.
    """
    import torch
    from torch import nn

    torch.set_num_threads(available_cores())
    kind = "cuda" if torch.cuda.is_available() else "cpu"

    def prepared(images: npt.NDArray[np.uint8]) -> Any:
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float()
        mean, deviation = pixels.mean((1, 2, 3), keepdim=True), pixels.std((1, 2, 3), correction=0, keepdim=True)
        resized = nn.functional.interpolate((pixels - mean) / deviation.clamp_min(3072**-0.5), size=64, mode="bilinear")
        return resized.to(torch.bfloat16).to(kind, memory_format=torch.channels_last)

    def stage(inputs: int, outputs: int, kernel: int, pool: int, **options: Any) -> list[nn.Module]:
        convolution = nn.Conv2d(inputs, outputs, kernel, **options)
        return [convolution, nn.ReLU(), nn.BatchNorm2d(outputs), *([nn.MaxPool2d(pool)] if pool > 1 else [])]

    network = nn.Sequential(
        *stage(3, 128, 11, 2, stride=4),
        *stage(128, 256, 5, 3, padding=2),
        *stage(256, 256, 3, 1, padding=1),
        *stage(256, 256, 1, 1),
        *stage(256, 256, 1, 2),
        nn.Flatten(),
        *[nn.Linear(256, 1024), nn.ReLU(), nn.Dropout(0.5)],
        *[nn.Linear(1024, 1024), nn.ReLU(), nn.Dropout(0.5)],
        nn.Linear(1024, 10),
    ).to(kind, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), RATE, fused=True)
    images, held_out = prepared(train.images), prepared(validation.images)
    labels = torch.from_numpy(train.labels.astype(np.int64)).to(kind)
    held_out_labels = torch.from_numpy(validation.labels.astype(np.int64)).to(kind)

    def epoch(batch_size: int, warm: bool) -> None:
        network.train()
        order = torch.randperm(len(labels), device=kind)[: WARM_STEPS * batch_size if warm else None]
        for chosen in order.split(batch_size):
            if len(chosen) < batch_size:
                break
            with torch.autocast(kind, torch.bfloat16):
                loss = nn.functional.cross_entropy(network(images[chosen]), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        network.eval()
        correct = torch.zeros((), device=kind)
        with torch.no_grad(), torch.autocast(kind, torch.bfloat16):
            for some, answers in zip(held_out.split(500), held_out_labels.split(500), strict=True):
                correct += (network(some).argmax(1) == answers).sum()
        correct.item()  # waits for a GPU

    return epoch, {
        "precision": "bfloat16",
        "version": torch.__version__,
        "parameters": sum(map(_size, network.parameters())),
    }


def _size(parameter: Any) -> int:
    return int(parameter.numel())


def matmul_rate(precision: str) -> float:
    """The most FLOP/s that a square matrix product reaches here, over some sizes; 2n^3 FLOP each."""
    import tensorflow as tf

    gpu = bool(tf.config.list_physical_devices("GPU"))
    best = 0.0
    for size in MATMUL_SIZES["gpu" if gpu else "cpu"]:
        a = tf.cast(tf.random.stateless_normal((size, size), (0, 1)), precision)
        for _ in range(12):
            begun = time.perf_counter()
            tf.linalg.matmul(a, a)[0, 0].numpy()
            best = max(best, 2 * size**3 / (time.perf_counter() - begun))
    return best


def most_memory() -> float:
    """The most MB that this process had at a time: of the GPU's memory by TensorFlow's count, else of its own."""
    import resource

    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        return float(tf.config.experimental.get_memory_info("GPU:0")["peak"]) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["ours", "ours-float32", "report", "pytorch"])
    parser.add_argument("--data", required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--images", type=int, required=True)
    asked = parser.parse_args()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    spec = DataSpec(source=asked.data, train_images=asked.images, validation_images=asked.images // 5)
    parts = split(load_training(asked.data, asked.cache), spec)
    makers: dict[str, Callable[..., tuple[Epoch, dict[str, Any]]]] = {"report": report, "pytorch": pytorch}
    if asked.kind in makers:
        epoch, about = makers[asked.kind](parts.train, parts.validation)
    else:
        epoch, about = ours(parts.train, parts.validation, "float32" if asked.kind == "ours-float32" else "auto")
    print(json.dumps(about), file=answers, flush=True)
    for line in sys.stdin:
        if line.strip() == "matmul":
            print(json.dumps({"flops": matmul_rate(about["precision"])}), file=answers, flush=True)
            continue
        if line.strip() == "memory":
            print(json.dumps({"megabytes": most_memory()}), file=answers, flush=True)
            continue
        begun = time.perf_counter()
        *warm, batch_size = line.split()
        epoch(int(batch_size), bool(warm))
        print(json.dumps({"seconds": time.perf_counter() - begun}), file=answers, flush=True)


if __name__ == "__main__":
    main()
