"""A small ResNet of one's own: any image size, one or three channels, any number of classes."""

import keras
from keras import layers


def block(x, width, stride):
    """Two convolutions beside a shortcut (He et al. 2016, with the normalisation first)."""
    shortcut = layers.Conv2D(width, 1, strides=stride, use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    x = layers.Conv2D(width, 3, strides=stride, padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    x = layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
    return layers.Add()([shortcut, x])


def build(image_shape, classes, *, width, depth, dropout=0.0):
    """`depth` blocks, each half as large and twice as wide as the one before."""
    image = keras.Input(image_shape)
    x = layers.Conv2D(width, 3, padding="same", use_bias=False)(image)
    for number in range(depth):
        x = block(x, width * 2**number, stride=1 if number == 0 else 2)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    x = layers.Dropout(dropout)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, layers.Dense(classes)(x))
