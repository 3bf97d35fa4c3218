"""Keras `fit`, fp32, fed by tf.data; the variant is the backend, jax or tensorflow. jit_compile is left to Keras."""

import os
import time
from collections.abc import Iterator

import numpy as np
from workload import BATCH, LR, MEAN, MOMENTUM, PAD, STAGES, STD, WEIGHT_DECAY


def epochs(images: np.ndarray, labels: np.ndarray, threads: int, variant: str) -> Iterator[float]:
    """Each epoch's images/s."""
    os.environ["KERAS_BACKEND"] = variant
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    import keras

    model = _model(keras)
    model.compile(
        keras.optimizers.SGD(LR, momentum=MOMENTUM, nesterov=True, weight_decay=WEIGHT_DECAY),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    data = _data(tf, images, labels)

    class Clock(keras.callbacks.Callback):
        """Seconds of the latest epoch, without what `fit` sets up before it."""

        def on_epoch_begin(self, epoch, logs=None):
            self.started = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            self.seconds = time.perf_counter() - self.started

    clock = Clock()
    while True:
        model.fit(data, epochs=1, verbose=0, callbacks=[clock])
        yield len(images) // BATCH * BATCH / clock.seconds


def _model(keras):
    """The same layers in the same order, channels last, as Keras has them."""
    layers = keras.layers
    model = keras.Sequential([keras.Input((32, 32, 3))])
    for filters in STAGES:
        for position in range(2):
            model.add(layers.Conv2D(filters, 3, padding="same", use_bias=False, kernel_initializer="he_normal"))
            if position == 1:
                model.add(layers.MaxPooling2D())
            model.add(layers.BatchNormalization(momentum=0.9, epsilon=1e-5))
            model.add(layers.ReLU())
    model.add(layers.Flatten())
    model.add(layers.Dense(10))
    return model


def _data(tf, images: np.ndarray, labels: np.ndarray):
    """In memory and padded beforehand; cut and mirrored in parallel, normalised by the batch, prefetched."""
    padded = np.pad(images, ((0, 0), (PAD, PAD), (PAD, PAD), (0, 0)), mode="reflect")
    mean, deviation = 255 * tf.constant(MEAN), 255 * tf.constant(STD)

    def augment(image, label):
        return tf.image.random_flip_left_right(tf.image.random_crop(image, (32, 32, 3))), label

    def normalise(batch, label):
        return (tf.cast(batch, tf.float32) - mean) / deviation, label

    data = tf.data.Dataset.from_tensor_slices((padded, labels.astype(np.int32)))
    data = data.shuffle(len(images)).map(augment, num_parallel_calls=tf.data.AUTOTUNE)
    data = data.batch(BATCH, drop_remainder=True).map(normalise, num_parallel_calls=tf.data.AUTOTUNE)
    return data.prefetch(tf.data.AUTOTUNE)
