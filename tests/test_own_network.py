"""A Keras network of one's own: what its file may be, how it is trained, and what becomes of it."""

from __future__ import annotations

import gc
import hashlib
import json
import os
import subprocess
import sys
import weakref
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from model import augment, own_network, program
from model.config import (
    ALEXNETS,
    HYPERPARAMETERS,
    DataError,
    DataSpec,
    EpochMetrics,
    ModelError,
    NetworkError,
    NetworkSpec,
    TrainConfig,
    ValuesError,
)
from model.data import Split, fingerprint, load_test, load_training, shape_of, split
from model.device import Device
from model.evaluate import evaluate
from model.own_engine import OwnEngine
from model.saved import load_model, save_model
from search.base.home import Home
from search.retraining import using
from search.space.files import load_space
from search.space.own_files import own_of

CPU = Device("cpu", "this CPU", "float32", xla=False, threads=2)
OWN = (None, None, None)
CONFIG = TrainConfig(batch_size=32, learning_rate=0.05, epochs=2, seed=1, precision="float32", network={})
EVERYTHING: dict[str, Any] = {
    "optimizer": "adamw",
    "learning_rate": 0.003,
    "weight_decay": 0.01,
    "label_smoothing": 0.1,
    "augmentation": "flip_shift_cutout",
    "warmup_epochs": 1,
}
PLAIN = """
import keras
from keras import layers

def build(image_shape, classes, *, width=16, end="softmax"):
    return keras.Sequential([
        keras.Input(image_shape),
        layers.Flatten(),
        layers.Dense(width, activation="relu"),
        layers.BatchNormalization(momentum=0.9),
        layers.Dropout(0.2),
        layers.Dense(classes, activation=None if end == "logits" else end),
    ])
"""
RANDOM = """
import keras
from keras import layers

class Noise(layers.Layer):
    "Draws from a generator of its own, and from Keras' global one."
    def __init__(self, **named):
        super().__init__(**named)
        self.generator = keras.random.SeedGenerator()

    def call(self, x, training=False):
        if not training:
            return x
        shape = keras.ops.shape(x)
        return x + keras.random.normal(shape, 0, 0.1, seed=self.generator) + keras.random.uniform(shape, -0.1, 0.1)

def build(image_shape, classes):
    image = keras.Input(image_shape)
    x = layers.RandomFlip("horizontal")(image)
    x = layers.Conv2D(4, 3, activation="relu")(Noise()(x))
    x = layers.GaussianNoise(0.1)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, layers.Dense(classes)(x))
"""


@pytest.fixture(scope="module")
def images() -> Split:
    """Digits as they are, 8x8x1: 300 to train on, so that batches of 32 leave a remainder."""
    spec = DataSpec(source="digits", train_images=300, validation_images=150)
    return split(load_training("digits", Path(), shape=OWN), spec)


@pytest.fixture(autouse=True)
def _modules_as_they_were() -> Iterator[None]:
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name in {"mynet", "helper"} or name.startswith("network_file_"):
            del sys.modules[name]


def written(folder: Path, text: str = PLAIN, function: str = "build") -> NetworkSpec:
    folder.mkdir(exist_ok=True)
    file = folder / "mynet.py"
    file.write_text(text)
    return NetworkSpec(file=str(file), function=function, sha256=hashlib.sha256(file.read_bytes()).hexdigest())


def changed(**changes: Any) -> TrainConfig:
    return TrainConfig(**{**CONFIG.model_dump(), **changes})


def engine_of(images: Split, spec: NetworkSpec) -> OwnEngine:
    return OwnEngine(images.train, images.validation, CPU, spec)


def go_on(_metrics: EpochMetrics) -> bool:
    return True


def weights(engine: OwnEngine) -> dict[str, npt.NDArray[np.int32]]:
    """As bits: states of random layers need not be numbers."""
    return {name: value.view(np.int32) for name, value in engine._read().items()}


def assert_bit_equal(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert first.keys() == second.keys()
    assert [name for name, value in first.items() if not np.array_equal(value, second[name])] == []


@pytest.mark.parametrize("text", [PLAIN, RANDOM], ids=["keras' own layers", "random layers of its own"])
def test_same_seed_trains_the_same_weights_bit_for_bit_whatever_came_before(
    images: Split, tmp_path: Path, text: str
) -> None:
    engine = engine_of(images, written(tmp_path, text))
    engine.train(CONFIG, go_on)
    first = weights(engine)
    engine.train(changed(seed=2, epochs=1), go_on)
    assert not np.array_equal(weights(engine)["0/" + next(iter(first)).partition("/")[2]], next(iter(first.values())))
    engine.train(CONFIG, go_on)
    assert_bit_equal(weights(engine), first)
    fresh = engine_of(images, written(tmp_path, text))
    fresh.train(CONFIG, go_on)
    assert_bit_equal(weights(fresh), first)


@pytest.mark.parametrize("changes", [{}, EVERYTHING], ids=["plain", "everything"])
def test_training_that_was_killed_goes_on_bit_equal(images: Split, tmp_path: Path, changes: dict[str, Any]) -> None:
    config, spec = changed(**changes, epochs=3), written(tmp_path / "net", RANDOM)
    whole = engine_of(images, spec)
    whole.train(config, go_on)
    begun = engine_of(images, spec)
    begun.train(config, lambda metrics: metrics.epoch < 1, checkpoints=tmp_path / "kept")
    resumed = engine_of(images, spec)
    seen: list[EpochMetrics] = []
    result = resumed.train(config, go_on, checkpoints=tmp_path / "kept", on_start=seen.extend)
    assert [epoch.epoch for epoch in seen] == [1]
    assert [epoch.epoch for epoch in result.history] == [1, 2, 3]
    assert_bit_equal(weights(resumed), weights(whole))


def test_checkpoint_of_another_file_is_passed_over(images: Split, tmp_path: Path) -> None:
    engine_of(images, written(tmp_path)).train(changed(epochs=1), go_on, checkpoints=tmp_path / "kept")
    other = engine_of(images, written(tmp_path, PLAIN + "\n# changed"))
    seen: list[EpochMetrics] = []
    other.train(changed(epochs=1), go_on, checkpoints=tmp_path / "kept", on_start=seen.extend)
    assert seen == []


def test_softmax_and_logits_train_the_same_network(images: Split, tmp_path: Path) -> None:
    engine, found = engine_of(images, written(tmp_path)), []
    for end in ("softmax", "logits"):
        result = engine.train(changed(network={"end": end}, epochs=1), go_on)
        found.append((weights(engine), result.history[0].model_dump(exclude={"seconds"})))
    assert_bit_equal(found[0][0], found[1][0])
    assert found[0][1] == found[1][1]


REGULARISED = """
import keras
from keras import layers

def build(image_shape, classes):
    image = keras.Input(image_shape)
    x = layers.Conv2D(4, 3, padding="same", kernel_regularizer=keras.regularizers.L2(0.01))(image)
    x = layers.BatchNormalization(momentum=0.9)(x)
    x = layers.Flatten()(layers.ReLU()(x))
    return keras.Model(image, layers.Dense(classes, kernel_constraint=keras.constraints.MaxNorm(0.7))(x))
"""


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_an_epoch_changes_weights_and_statistics_as_keras_does(images: Split, tmp_path: Path, momentum: float) -> None:
    engine, spec = engine_of(images, written(tmp_path, REGULARISED)), written(tmp_path, REGULARISED)
    config = changed(momentum=momentum, epochs=1)
    result = engine.train(config, go_on)
    builder = own_network.load_builder(spec)
    model = own_network.build(spec, builder, (8, 8, 1), 10, {}, seed=config.seed, precision="float32")
    model.compile(
        keras.optimizers.SGD(config.learning_rate, momentum=momentum),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    x = images.train.images.astype(np.float32)
    x = (x - x.mean((1, 2, 3), keepdims=True)) / x.std((1, 2, 3), keepdims=True)
    for batch in program.epoch_order(config.seed, 1, 300, 32).numpy():
        model.train_on_batch(x[batch], images.train.labels[batch])
    trained = engine._own.model
    assert len(model.variables) >= 8
    for theirs, ours in zip(model.weights, trained.weights, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-4, atol=1e-5, err_msg=ours.path)
    assert result.history[0].val_loss is not None


def test_network_learns_digits_of_one_channel_and_is_measured_alike_when_it_is_saved(
    images: Split, tmp_path: Path
) -> None:
    engine = engine_of(images, written(tmp_path / "net"))
    result = engine.train(changed(epochs=8), go_on)
    scored = result.history[-1].val_accuracy
    assert scored is not None
    assert scored > 0.85
    save_model(engine.network, tmp_path / "net.keras", images.train.class_names)
    saved = load_model(tmp_path / "net.keras", classes=10)
    assert saved.input_shape == (None, 8, 8, 1)
    assert evaluate(saved, images.validation).accuracy == pytest.approx(scored, abs=0.01)
    plain = keras.models.load_model(tmp_path / "net.keras", safe_mode=True)
    np.testing.assert_allclose(plain(images.validation.images[:5]).numpy().sum(axis=1), 1, atol=1e-5)
    with pytest.raises(ModelError, match=r"must take images of shape \(N, 32, 32, 3\), but takes \(None, 8, 8, 1\)"):
        evaluate(saved, load_test("digits", Path()))


def test_network_trained_in_bfloat16_is_saved_in_float32(images: Split, tmp_path: Path) -> None:
    engine = engine_of(images, written(tmp_path))
    engine.train(changed(precision="bfloat16", network={"end": "logits"}), go_on)
    trained = engine._own.model
    assert trained.layers[-1].compute_dtype == "bfloat16"
    described = engine.network.to_json()
    assert "bfloat16" not in described
    for ours, saved in zip(trained.weights, engine.network.weights, strict=True):
        assert ours.dtype == "float32"
        np.testing.assert_array_equal(ours.numpy(), saved.numpy())


def test_uint8_input_takes_the_pixels_as_they_are(images: Split, tmp_path: Path) -> None:
    raw = PLAIN.replace("keras.Input(image_shape)", 'keras.Input(image_shape, dtype="uint8"), layers.Rescaling(1 / 16)')
    engine = engine_of(images, written(tmp_path, raw))
    result = engine.train(changed(epochs=4), go_on)
    assert evaluate(engine.network, images.validation).accuracy == pytest.approx(result.history[-1].val_accuracy)
    assert "standardize" not in {layer.name for layer in engine.network.layers}


def test_network_of_other_values_leaves_nothing_behind(images: Split, tmp_path: Path) -> None:
    engine = engine_of(images, written(tmp_path))
    engine.train(changed(network={"width": 8}, epochs=1), go_on)
    first = weakref.ref(engine._own)
    engine.train(changed(network={"width": 8}, epochs=1, seed=3), go_on)
    assert engine._own is first(), "the same network, and what is compiled for it, is kept"
    engine.train(changed(network={"width": 4}, epochs=1), go_on)
    gc.collect()
    assert first() is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def build(image_shape, classes):\n    width = 5\n    raise ValueError('width must be even')",
         r"mynet.py:build fails with no values: mynet.py:3: ValueError: width must be even"),
        ("def build(image_shape, classes):\n    import sys\n    sys.exit(3)", r"mynet.py:3: SystemExit: 3"),
        ("def build(image_shape, classes):\n    pass", "returned NoneType. Does its last line return it"),
        ("def build(image_shape, classes, *, depth):\n    pass",
         r"is build\(image_shape, classes, \*, depth\), but is called as build\(image_shape, classes\)"),
        (PLAIN.replace("layers.Dense(classes", "layers.Dense(classes + 1"),
         r"must give \(batch, 10\): a number for each class. It gives \(None, 11\)"),
        (PLAIN.replace("keras.Input(image_shape)", "keras.Input((32, 32, 3))"),
         r"must take images of shape \(None, 8, 8, 1\), but takes \(None, 32, 32, 3\)"),
        (PLAIN.replace('"softmax"', '"sigmoid"'), "ends in a sigmoid"),
        (PLAIN.replace("layers.Flatten()", "layers.Flatten(), layers.Lambda(lambda x: x)"), "has a Lambda layer"),
        (PLAIN.replace("def build", "import functools\n\n@functools.cache\ndef build"), ""),
        ("""
import keras
def build(image_shape, classes):
    one, two = keras.Input(image_shape), keras.Input(image_shape)
    x = keras.layers.Flatten()(one + two)
    return keras.Model([one, two], keras.layers.Dense(classes)(x))
""", "must take one input"),
        ("""
import keras
def build(image_shape, classes):
    image = keras.Input(image_shape)
    x = keras.layers.Flatten()(image)
    return keras.Model(image, [keras.layers.Dense(classes)(x), keras.layers.Dense(2)(x)])
""", "must give one output .* gives 2"),
        ("""
import keras
class Odd(keras.layers.Layer):
    def __init__(self, thing):
        super().__init__()
        self.thing = thing
    def call(self, x):
        return x
def build(image_shape, classes):
    return keras.Sequential([keras.Input(image_shape), Odd(object()), keras.layers.Flatten(), keras.layers.Dense(10)])
""", "could not be saved: .*get_config"),
        ("""
import keras
class Odd(keras.layers.Layer):
    def call(self, x, training=False):
        if training:
            raise RuntimeError("only then")
        return x
def build(image_shape, classes):
    return keras.Sequential([keras.Input(image_shape), Odd(), keras.layers.Flatten(), keras.layers.Dense(10)])
""", "fails in epoch 1: mynet.py:6: .*only then"),
    ],
    ids=lambda value: value[-40:] if isinstance(value, str) and "\n" not in value else "text",
)  # fmt: skip
def test_what_a_builder_does_wrong_is_said_in_a_line_and_leaves_the_engine_usable(
    images: Split, tmp_path: Path, text: str, said: str
) -> None:
    engine = engine_of(images, written(tmp_path, text))
    if not said:  # it is right once
        engine.train(changed(epochs=1), go_on)
        said = "returned weights that an earlier call had returned"
    with pytest.raises(ValuesError, match=said) as caught:
        engine.train(CONFIG, go_on)
    assert "\n" not in str(caught.value)
    assert (caught.value.failure.kind, caught.value.retry) == ("values", False)
    with pytest.raises(ValuesError):
        engine.train(CONFIG, go_on)


def test_file_that_can_not_be_used_is_told_before_anything_starts(images: Split, tmp_path: Path) -> None:
    spec = written(tmp_path)
    changes: list[tuple[NetworkSpec, str]] = [
        (spec.model_copy(update={"function": "bild"}), r"has no function 'bild'; it has build"),
        (spec.model_copy(update={"sha256": "0" * 64}), "has changed: its SHA-256 is"),
        (spec.model_copy(update={"file": str(tmp_path / "gone.py")}), "can't be read"),
        (written(tmp_path / "a", "import keras\nimport not_there_at_all"), "mynet.py:2: ModuleNotFoundError"),
        (written(tmp_path / "b", "def build(:\n"), "mynet.py:1: SyntaxError"),
        (written(tmp_path / "c", "raise SystemExit(2)"), "mynet.py:1: SystemExit: 2"),
    ]
    for wrong, said in changes:
        with pytest.raises(NetworkError, match=said) as caught:
            engine_of(images, wrong)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "line"), [("model/blocks.py", "from model import blocks"), ("json.py", "import json")]
)
def test_module_beside_it_whose_name_is_taken_is_refused_if_it_is_imported(
    images: Split, tmp_path: Path, name: str, line: str
) -> None:
    spec = written(tmp_path, f"import helper\n{PLAIN}")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("raise RuntimeError('never run')")
    (tmp_path / "helper.py").write_text("width = 3")
    engine_of(images, spec)  # beside it, and not imported, it does no harm
    assert json.loads("[1]") == [1]
    other = written(tmp_path, f"{line}\n{PLAIN}")
    taken = name.partition("/")[0].removesuffix(".py")
    with pytest.raises(NetworkError, match=rf"mynet.py imports {taken}, and .* is another module already .*my_{taken}"):
        engine_of(images, other)


OWN_LAYER = PLAIN.replace("layers.Flatten()", "Scaled(2.0), layers.Flatten()").replace(
    "def build",
    """
class Scaled(layers.Layer):
    def __init__(self, factor, **named):
        super().__init__(**named)
        self.factor = factor

    def call(self, x):
        return x * self.factor

def build""",
)


def test_saved_network_with_layers_of_its_own_needs_their_file_and_says_so(images: Split, tmp_path: Path) -> None:
    spec = written(tmp_path / "net", OWN_LAYER)
    engine = engine_of(images, spec)
    engine.train(changed(epochs=1), go_on)
    save_model(engine.network, tmp_path / "net.keras", images.train.class_names)
    measure = partial(using.evaluate_model, tmp_path / "net.keras", "digits", Home(tmp_path), lambda _home: None)
    with pytest.raises(ModelError, match=r"without the Python file that defines Scaled.*--network mynet\.py"):
        measure()
    document = measure(network=Path(spec.file))
    test = load_test("digits", Path(), shape=OWN)
    assert document["accuracy"] == evaluate(engine.network, test).accuracy
    assert document["images"] == 297
    converted = using.convert_model(
        tmp_path / "net.keras", "litert", None, None, Home(tmp_path), lambda _home: None, network=Path(spec.file)
    )
    assert converted["classes_seen"] > 1


def test_pictures_are_brought_to_what_the_network_takes(images: Split, tmp_path: Path) -> None:
    engine = engine_of(images, written(tmp_path / "net"))
    engine.train(changed(epochs=6), go_on)
    save_model(engine.network, tmp_path / "net.keras", images.train.class_names)
    picture = tmp_path / "large.png"
    Image.fromarray(images.validation.images[0, :, :, 0]).resize((80, 80)).convert("RGB").save(picture)
    document = using.predict_images(tmp_path / "net.keras", [picture], Home(tmp_path), lambda _home: None)
    assert document["images"][0]["class"] == str(images.validation.labels[0])


def test_images_of_any_size_move_as_those_of_32_pixels_do() -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (20, 16, 48, 1), dtype=np.uint8)
    seed = np.array([7, 3], np.int64)
    mirrored, down, right = augment.draw(seed, 20, np.float32(0.5), np.array([[2], [6]], np.int32))
    moved = augment.move_images(images, seed, np.float32(0.5), np.int32(4)).numpy()
    assert set(down.numpy().tolist()) <= set(range(-2, 3))
    assert abs(right.numpy()).max() > 2
    for image, result, flip, y, x in zip(images, moved, mirrored.numpy(), down.numpy(), right.numpy(), strict=True):
        wide = np.pad(image[:, ::-1] if flip else image, ((16, 16), (48, 48), (0, 0)), mode="reflect")
        # The image moves first where it is mirrored: a shift to the right of the mirror image.
        np.testing.assert_array_equal(result, wide[16 - y : 32 - y, 48 - x : 96 - x])


def test_images_keep_their_own_size_or_are_brought_to_the_one_asked_for(tmp_path: Path) -> None:
    assert shape_of(DataSpec(source="digits", image_size=64), own=True) == (64, 64, None)
    assert shape_of(DataSpec(source="digits", image_size=64), own=False) == (32, 32, 3)
    small = load_training("digits", tmp_path, shape=OWN)
    assert small.images.shape == (1500, 8, 8, 1)
    large = load_training("digits", tmp_path, shape=(64, 64, None))
    assert large.images.shape == (1500, 64, 64, 1)
    assert load_training("digits", tmp_path, shape=(16, 16, 3)).images.shape == (1500, 16, 16, 3)
    assert len({fingerprint(each) for each in (small, large, load_training("digits", tmp_path))}) == 3


def test_folder_is_kept_apart_by_size_and_its_own_sizes_must_agree(tmp_path: Path) -> None:
    data, cache = tmp_path / "data", tmp_path / "cache"
    random = np.random.default_rng(0)
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            (data / part / name).mkdir(parents=True)
            for number in range(3):
                pixels = random.integers(0, 256, (20, 30), dtype=np.uint8)
                Image.fromarray(pixels).save(data / part / name / f"{number}.png")
    usual = fingerprint(load_training(str(data), cache))
    grey = load_training(str(data), cache, shape=OWN)
    assert grey.images.shape == (6, 20, 30, 1)
    assert load_training(str(data), cache, shape=(12, 12, None)).images.shape == (6, 12, 12, 1)
    assert fingerprint(load_training(str(data), cache)) == usual
    assert fingerprint(load_training(str(data), cache, shape=OWN)) == fingerprint(grey)
    Image.new("RGB", (30, 20)).save(data / "train" / "cat" / "0.png")
    assert load_training(str(data), cache, shape=OWN).images.shape == (6, 20, 30, 3), "one in colour makes all so"
    Image.new("RGB", (40, 25)).save(data / "train" / "cat" / "1.png")
    with pytest.raises(DataError, match=r"5 of 30x20, 1 of 40x25\. Bring them to one: image_size = 20 in \[data\]"):
        load_training(str(data), cache, shape=OWN)
    assert load_training(str(data), cache, shape=(20, 20, None)).images.shape == (6, 20, 20, 3)


def test_arrays_keep_their_size_and_channels(tmp_path: Path) -> None:
    x, y = np.arange(10 * 144, dtype=np.uint8).reshape(10, 12, 12) % 250, np.arange(10) % 2
    np.savez(tmp_path / "a.npz", x_train=x, y_train=y, x_test=x.reshape(10, 144), y_test=y)
    training = load_training(str(tmp_path / "a.npz"), tmp_path, shape=OWN)
    np.testing.assert_array_equal(training.images[..., 0], x)
    assert training.notes == ("x_train: images are grey",)
    test = load_test(str(tmp_path / "a.npz"), tmp_path, shape=(12, 12, 1))
    np.testing.assert_array_equal(test.images, training.images)
    assert load_training(str(tmp_path / "a.npz"), tmp_path, shape=(24, 24, None)).images.shape == (10, 24, 24, 1)


def test_what_does_not_apply_to_a_network_of_ones_own_is_a_hyperparameter() -> None:
    assert set(ALEXNETS) < set(HYPERPARAMETERS)


@pytest.mark.slow
def test_the_example_learns_and_its_space_names_it(images: Split) -> None:
    folder = Path(__file__).parent.parent / "docs" / "examples" / "own_network"
    space = load_space(str(folder / "resnet.toml"))
    spec = own_of(space, (folder,))
    assert isinstance(spec, NetworkSpec)
    values = {"width": 8, "depth": 2, "dropout": 0.1}
    result = engine_of(images, spec).train(changed(network=values, epochs=8, learning_rate=0.2), go_on)
    assert result.history[-1].loss < result.history[0].loss / 2


@pytest.mark.slow
def test_training_process_trains_it_beside_files_that_are_called_like_ours(tmp_path: Path) -> None:
    spec = written(tmp_path / "net", f"import helper\n{PLAIN}")
    (tmp_path / "net" / "helper.py").write_text("")
    for name in ("model", "search", "studies"):
        (tmp_path / "net" / name).mkdir()
        (tmp_path / "net" / name / "__init__.py").write_text("raise SystemExit('in our place')")
    (tmp_path / "net" / "json.py").write_text("raise SystemExit('in our place')")
    opening = {
        "kind": "open",
        "data": {"source": "digits", "train_images": 200, "validation_images": 100},
        "network": spec.model_dump(),
        "cache": str(tmp_path / "cache"),
    }
    train = {
        "kind": "train",
        "trial": 4,
        "config": changed(epochs=1, network={"width": 8}).model_dump(),
        "checkpoints": str(tmp_path / "kept"),
        "model": str(tmp_path / "net.keras"),
    }
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "search.training.trainer"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path / "net",
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{json.dumps(opening)}\n{json.dumps(train)}\n")
        process.stdin.flush()
        told: list[dict[str, Any]] = []
        while not told or told[-1]["kind"] not in ("finished", "failed", "refused"):
            told.append(json.loads(process.stdout.readline()))
        process.stdin.close()
    assert [message["kind"] for message in told if message["kind"] != "progress"] == [
        "ready",
        "started",
        "epoch",
        "finished",
    ]
    assert load_model(tmp_path / "net.keras").input_shape == (None, 8, 8, 1)
