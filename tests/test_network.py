from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from model import forward, kernels, network
from model.data import load_training
from model.saved import save_model

Images = npt.NDArray[np.uint8]

# Layer by layer as the report prints them: name, output shape without the batch, parameters.
REPORT = [
    ("conv1", (14, 14, 128), 46_592), ("norm1", (14, 14, 128), 512), ("pool1", (7, 7, 128), 0),
    ("conv2", (7, 7, 256), 819_456), ("norm2", (7, 7, 256), 1_024), ("pool2", (2, 2, 256), 0),
    ("conv3", (2, 2, 256), 590_080), ("norm3", (2, 2, 256), 1_024),
    ("conv4", (2, 2, 256), 65_792), ("norm4", (2, 2, 256), 1_024),
    ("conv5", (2, 2, 256), 65_792), ("norm5", (2, 2, 256), 1_024), ("pool5", (1, 1, 256), 0),
    ("flatten", (256,), 0),
    ("dense1", (1024,), 263_168), ("dropout_dense1", (1024,), 0),
    ("dense2", (1024,), 1_049_600), ("dropout_dense2", (1024,), 0),
    ("probabilities", (10,), 10_250),
]  # fmt: skip


@pytest.fixture(scope="module")
def images() -> Images:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (48, 32, 32, 3), dtype=np.uint8)
    images[0], images[1] = 0, 255  # constant: their deviation is 0
    images[2] = images[2] // 64 + 100  # little contrast
    return images


@pytest.fixture(scope="module")
def net() -> keras.Model:
    """With BatchNormalization far from its start, where a mistake in it would not show."""
    net = network.build_alexnet()
    random = np.random.default_rng(1)
    weights = network.initial_weights(net, seed=5)
    for name, value in weights.items():
        if not name.endswith("kernel"):
            weights[name] = random.uniform(0.5, 1.5, value.shape).astype(np.float32)
    network.assign_weights(net, weights)
    return net


def variables(net: keras.Model) -> dict[str, tf.Variable]:
    return {name: weight.value for name, weight in network.weights_of(net).items()}


def prepared(images: Images, dtype: tf.DType = tf.float32) -> tf.Tensor:
    return forward.prepare(forward.to_blocks(images), forward.standardization(images), dtype)


def test_network_is_the_reports_layer_by_layer(net: keras.Model) -> None:
    layers = [(layer.name, layer.output.shape[1:], layer.count_params()) for layer in net.layers]
    assert layers[-len(REPORT) :] == REPORT
    assert all(parameters == 0 for _, _, parameters in layers[: -len(REPORT)])
    assert net.count_params() == 2_915_338
    assert sum(int(np.prod(weight.shape)) for weight in net.trainable_weights) == 2_913_034


def test_preprocessing_is_standardisation_and_bilinear_64x64(net: keras.Model, images: Images) -> None:
    ours = keras.Model(net.input, net.get_layer("resize").output)(images)
    reports = tf.image.resize(tf.image.per_image_standardization(images), (64, 64))
    np.testing.assert_allclose(ours, reports, atol=1e-5)


def test_constant_images_of_any_shade_become_zero(net: keras.Model) -> None:
    shades = np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None, None, None], (256, 32, 32, 3))
    assert np.abs(keras.Model(net.input, net.get_layer("resize").output)(shades)).max() < 1e-5
    assert np.abs(prepared(np.ascontiguousarray(shades))[:, :16, :16]).max() == 0


def test_plain_call_of_the_network_trains_nothing(net: keras.Model, images: Images) -> None:
    before = network.read_weights(net)
    np.testing.assert_array_equal(net(images), net(images, training=False))
    assert all(np.array_equal(before[name], value) for name, value in network.read_weights(net).items())


def test_a_seed_means_the_same_weights_every_time() -> None:
    first, second = network.build_alexnet(), network.build_alexnet()
    ours, again, others = (network.initial_weights(n, s) for n, s in ((first, 7), (second, 7), (first, 8)))
    assert all(np.array_equal(ours[name], again[name]) for name in ours)
    assert all(np.array_equal(ours[name], others[name]) != name.endswith("kernel") for name in ours)
    # Written down once: an update of NumPy or Keras that changes what seeds mean should be noticed.
    np.testing.assert_allclose(ours["dense1/kernel"][0, :3], WEIGHTS_OF_SEED_7, rtol=1e-6)


def test_initial_weights_are_drawn_as_keras_draws_them() -> None:
    net = network.build_alexnet()
    keras_own, ours = network.read_weights(net), network.initial_weights(net, 3)
    for name, value in ours.items():
        assert value.dtype == np.float32
        if name.endswith("kernel"):
            limit = np.abs(keras_own[name]).max()
            assert np.abs(value).max() == pytest.approx(limit, rel=2e-2)
            assert value.std() == pytest.approx(keras_own[name].std(), rel=2e-2)
            assert abs(value.mean()) < 0.05 * limit
        else:
            np.testing.assert_array_equal(value, keras_own[name])


def test_weights_of_another_network_are_refused(net: keras.Model) -> None:
    weights = network.read_weights(net)
    del weights["conv1/bias"]
    with pytest.raises(ValueError, match="conv1/bias"):
        network.assign_weights(net, weights)


def test_network_with_the_mirror_image_gives_the_mean_of_both_probabilities(net: keras.Model, images: Images) -> None:
    both = network.with_mirror_image(net)
    mean = (net(images) + net(images[:, :, ::-1])) / 2
    np.testing.assert_allclose(both(images), mean, rtol=1e-5, atol=1e-7)
    assert not np.allclose(both(images), net(images), atol=1e-3)
    np.testing.assert_allclose(both(images), both(images[:, :, ::-1]), rtol=1e-5, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("mirrored", [False, True])
def test_saved_model_loads_in_plain_keras_without_this_package(
    net: keras.Model, images: Images, tmp_path: Path, mirrored: bool
) -> None:
    net = network.with_mirror_image(net) if mirrored else net
    save_model(net, tmp_path / "net.keras", [str(number) for number in range(10)])
    np.save(tmp_path / "images.npy", images)
    code = """
import sys
sys.modules["model"] = sys.modules["search"] = sys.modules["studies"] = None
import keras, numpy as np
net = keras.models.load_model("net.keras")
np.save("probabilities.npy", net(np.load("images.npy")))
"""
    subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, timeout=120, check=True)
    probabilities = np.load(tmp_path / "probabilities.npy")
    np.testing.assert_allclose(probabilities, net(images), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_folded_convolution_is_resize_and_11x11_in_one(net: keras.Model, images: Images) -> None:
    plain = keras.Model(net.input, net.get_layer("conv1").output)(images)
    kernel, bias = variables(net)["conv1/kernel"], variables(net)["conv1/bias"]
    folded = tf.nn.relu(tf.nn.conv2d(prepared(images), forward.fold_kernel(kernel), 1, "VALID") + bias)
    np.testing.assert_allclose(folded, plain, atol=1e-5)


@pytest.mark.parametrize(("dtype", "tolerance"), [(tf.float32, 1e-5), (tf.bfloat16, 0.02)])
def test_fast_inference_gives_the_networks_probabilities(
    net: keras.Model, images: Images, dtype: tf.DType, tolerance: float
) -> None:
    probabilities = tf.nn.softmax(forward.infer(variables(net), prepared(images, dtype)))
    np.testing.assert_allclose(probabilities, net(images), atol=tolerance)


def plain_step(net: keras.Model, images: Images, labels: npt.NDArray[np.int32], masks: list[tf.Tensor]) -> Any:
    """Loss and gradients of Keras' own layers in training; dropout takes the masks that it is given."""
    masks = list(masks)
    with tf.GradientTape() as tape:
        x: Any = images
        for layer in net.layers[1:]:
            x = x * masks.pop(0) if isinstance(layer, keras.layers.Dropout) else layer(x, training=True)
        loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(labels, x))
    trainable = {name: weight.value for name, weight in network.weights_of(net).items() if weight.trainable}
    return loss, tape.gradient(loss, trainable)


HALF = tf.constant(0.5)


def dropout_masks(seed: tf.Tensor, batch: int, rate: tf.Tensor = HALF) -> list[tf.Tensor]:
    """What the fast forward pass multiplies by, seen by sending ones through it."""
    ones = tf.ones((batch, network.HIDDEN_UNITS))
    return [forward.dropout(ones, seed, number, rate) for number in range(len(network.HIDDEN))]


def fast_step(
    net: keras.Model,
    images: Images,
    labels: npt.NDArray[np.int32],
    dtype: tf.DType,
    seed: tf.Tensor,
    plain: bool = False,
) -> Any:
    """Loss, gradients and new moving statistics of the fast forward pass, compiled."""
    weights = variables(net)
    trainable = {name: weights[name] for name, weight in network.weights_of(net).items() if weight.trainable}

    def step() -> Any:
        with tf.GradientTape() as tape:
            logits, moving = forward.train(weights, prepared(images, dtype), seed, HALF, plain=plain)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        return loss, tape.gradient(loss, trainable), moving

    return tf.function(step)()


def errors(gradients: dict[str, tf.Tensor], reference: dict[str, tf.Tensor]) -> dict[str, float]:
    """By weight, the norm of the gradient's error over the norm of the reference."""
    return {name: float(tf.norm(gradients[name] - plain) / tf.norm(plain)) for name, plain in reference.items()}


@pytest.fixture(scope="module")
def learnable() -> tuple[Images, npt.NDArray[np.int32]]:
    """64 images with something to see on them: on pure noise the gradients all but cancel out."""
    synthetic = load_training("synthetic", Path())
    return synthetic.images[:64], synthetic.labels[:64]


@pytest.mark.parametrize("plain_convolutions", [False, True])
def test_fast_float32_step_is_plain_keras_step(
    learnable: tuple[Images, npt.NDArray[np.int32]], plain_convolutions: bool
) -> None:
    """Loss and statistics within 1e-5, gradients within 0.03 of their norm.

    Rounding flips a ReLU or the choice of a max pooling here and there, and with 64 images one flip moves all the
    gradients before it by up to 0.02; the output layer, with nothing behind it, agrees within 1e-4.
    """
    images, labels = learnable
    net = network.build_alexnet()
    network.assign_weights(net, network.initial_weights(net, seed=2))
    seed = tf.constant([3, 14], tf.int64)
    loss, gradients, moving = fast_step(net, images, labels, tf.float32, seed, plain_convolutions)
    plain_loss, plain = plain_step(net, images, labels, dropout_masks(seed, len(images)))
    assert float(loss) == pytest.approx(float(plain_loss), rel=1e-5)
    found = errors(gradients, plain)
    assert max(found.values()) < 0.03, found
    assert found["probabilities/kernel"] < 1e-4
    assert len(moving) == 2 * len(network.STAGES)
    for name, value in moving.items():
        np.testing.assert_allclose(value, variables(net)[name], rtol=1e-5, atol=1e-6, err_msg=name)


def test_bfloat16_step_is_as_exact_as_keras_own_mixed_precision(
    learnable: tuple[Images, npt.NDArray[np.int32]],
) -> None:
    images, labels = learnable
    net = network.build_alexnet()
    weights = network.initial_weights(net, seed=2)
    policy = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy("mixed_bfloat16")
        mixed = network.build_alexnet()
    finally:
        keras.config.set_dtype_policy(policy)
    for each in (net, mixed):
        network.assign_weights(each, weights)
    seed = tf.constant([3, 14], tf.int64)
    masks = dropout_masks(seed, len(images))
    loss, gradients, _ = fast_step(net, images, labels, tf.bfloat16, seed)
    plain_loss, plain = plain_step(net, images, labels, masks)
    _, keras_mixed = plain_step(mixed, images, labels, [tf.cast(mask, tf.bfloat16) for mask in masks])
    assert float(loss) == pytest.approx(float(plain_loss), rel=1e-2)
    ours, theirs = errors(gradients, plain), errors(keras_mixed, plain)
    assert all(ours[name] < 1.3 * theirs[name] + 0.005 for name in ours), (ours, theirs)


@pytest.mark.parametrize(
    ("fast", "shape", "size"),
    [
        (kernels.convolution, (6, 7, 7, 16), 5),
        (kernels.convolution, (3, 4, 4, 8), 3),
        (kernels.convolution_on_2x2, (9, 2, 2, 16), 3),
        (kernels.pointwise, (9, 2, 2, 16), 1),
    ],
)
@pytest.mark.parametrize(("dtype", "tolerance"), [(tf.float32, 1e-5), (tf.bfloat16, 0.02)])
def test_fast_convolutions_are_the_plain_one(
    fast: Any, shape: tuple[int, ...], size: int, dtype: tf.DType, tolerance: float
) -> None:
    """`tolerance` bounds the largest error over the largest value, of the result and of each gradient."""
    random = np.random.default_rng(0)
    shapes = (shape, (size, size, shape[-1], 32), (32,), (*shape[:3], 32))
    values = [tf.constant(random.standard_normal(each), tf.float32) for each in shapes]
    x, kernel, bias, upstream = (tf.cast(value, dtype) for value in values)

    def plain(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
        return tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "SAME") + bias)

    def of(function: Any, *arguments: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(arguments[:3])
            y = function(*arguments[:3])
        return [y, *tape.gradient(y, arguments[:3], output_gradients=arguments[3])]

    # The reference rounds what it is given as the fast one does, and then computes in float32.
    reference = of(plain, *(tf.cast(value, tf.float32) for value in (x, kernel, bias, upstream)))
    for ours, exact in zip(tf.function(of)(fast, x, kernel, bias, upstream), reference, strict=True):
        assert ours.dtype == dtype
        error = tf.reduce_max(tf.abs(tf.cast(ours, tf.float32) - exact)) / tf.reduce_max(tf.abs(exact))
        assert float(error) < tolerance


def test_dropout_drops_half_and_depends_on_its_seed_alone() -> None:
    masks = [dropout_masks(tf.constant([9, step], tf.int64), 64) for step in (0, 2)]
    first, second = masks[0]
    assert set(np.unique(first)) == {0.0, 2.0}
    assert float(tf.reduce_mean(first)) == pytest.approx(1.0, abs=0.03)
    np.testing.assert_array_equal(first, dropout_masks(tf.constant([9, 0], tf.int64), 64)[0])
    every = [first, second, *masks[1]]
    assert all(not np.array_equal(a, b) for i, a in enumerate(every) for b in every[:i])


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.9])
def test_dropout_drops_its_rate_and_keeps_the_mean(rate: float) -> None:
    mask = dropout_masks(tf.constant([9, 0], tf.int64), 64, tf.constant(rate))[0]
    assert float(tf.reduce_mean(tf.cast(mask == 0, tf.float32))) == pytest.approx(rate, abs=0.01)
    assert float(tf.reduce_max(mask)) == pytest.approx(1 / (1 - rate))


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_saved_network_says_the_dropout_that_it_was_trained_with(rate: float, tmp_path: Path) -> None:
    net = network.build_alexnet()
    network.set_dropout(net, rate)
    net.save(tmp_path / "net.keras")
    loaded = keras.models.load_model(tmp_path / "net.keras", safe_mode=True)
    assert [loaded.get_layer(f"dropout_{name}").rate for name in network.HIDDEN] == [rate] * 2
    assert np.array_equal(loaded.get_weights()[0], net.get_weights()[0])


WEIGHTS_OF_SEED_7 = [0.06294983, -0.0046101050, 0.05191005]
