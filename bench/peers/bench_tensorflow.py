"""TensorFlow on the CPU: products, sums, and the perceptron and LeNet (Keras layers) under tf.function."""
import os
from common import *

args = arguments()
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow as tf

tf.config.threading.set_intra_op_parallelism_threads(args.threads)
tf.config.threading.set_inter_op_parallelism_threads(1)
b = Bench("tensorflow", args)
R = lambda *shape: tf.random.normal(shape)
L = tf.keras.layers


def forward(name, f, make, **kw):
    if b.wants(name):
        inputs = make()
        b.run(name, lambda: f(*inputs), **kw)


def mlp():
    return tf.keras.Sequential([L.Input((784,)), L.Dense(512, "relu"), L.Dense(512, "relu"), L.Dense(10)])


def lenet():
    """With channels last, TensorFlow's own layout."""
    return tf.keras.Sequential([
        L.Input((28, 28, 1)), L.Conv2D(20, 5, activation="relu"), L.MaxPool2D(), L.Conv2D(50, 5, activation="relu"),
        L.MaxPool2D(), L.Flatten(), L.Dense(500, "relu"), L.Dense(10)])


def train(name, make, *shape):
    if not b.wants(name):
        return
    x, y = R(*shape), tf.random.uniform((128,), 0, 10, tf.int32)
    model, opt = make(), tf.keras.optimizers.Adam(1e-3)
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    opt.build(model.trainable_variables)
    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            l = loss(y, model(x, training=True))
        opt.apply_gradients(zip(tape.gradient(l, model.trainable_variables), model.trainable_variables))
        return l
    b.run(name, lambda: step(x, y).numpy(), budgets=4)
    b.emit_memory(name)


def infer(name, make, *shape):
    if b.wants(name):
        f, x = tf.function(make()), R(*shape)
        b.run(name, lambda: f(x).numpy())


for m, k, n in GEMMS:
    forward(f"gemm_{m}x{k}x{n}_fwd", tf.linalg.matmul, lambda: (R(m, k), R(k, n)), flops=2 * m * k * n)
for n, s in SIZES:
    forward(f"add_{s}_fwd", tf.add, lambda: (R(n), R(n)), bytes=12 * n)
train("train_mlp", mlp, 128, 784)
train("train_lenet", lenet, 128, 28, 28, 1)
infer("infer_mlp", mlp, 1, 784)
infer("infer_lenet", lenet, 1, 28, 28, 1)
b.finish()
