"""JAX on the CPU, every workload under jit. XLA's pool follows the affinity of the process."""
import os
from common import *

args = arguments()
pin(args.threads)
os.environ["JAX_PLATFORMS"] = "cpu"
if args.threads == 1:
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
import jax, jax.numpy as jnp
from jax import lax, nn
import numpy as np

b = Bench("jax", args)
rng = np.random.default_rng(0)
R = lambda *shape: jnp.asarray(rng.standard_normal(shape, dtype=np.float32))
integers = lambda high, *shape: jnp.asarray(rng.integers(0, high, shape))
letters = lambda *shape: integers(LETTERS, *shape)


def both(name, f, make, grads, flops=0, bytes=0, **kw):
    """f forward, then forward and backward with respect to `grads` of the inputs that `make` returns."""
    if not b.wants_pair(name):
        return
    inputs = make()
    forward = jax.jit(f)
    b.run(name + "_fwd", lambda: forward(*inputs).block_until_ready(), flops=flops, bytes=bytes, **kw)
    def vjp(*a):
        # The output is returned as well, so that XLA cannot drop the forward pass.
        y, back = jax.vjp(f, *a)
        g = back(jnp.ones_like(y))
        return y, [g[i] for i in grads]
    backward = jax.jit(vjp)
    b.run(name + "_fwdbwd", lambda: jax.block_until_ready(backward(*inputs)), flops=flops * 3, **kw)


def layernorm(x, w, c):
    m = x.mean(-1, keepdims=True)
    v = ((x - m) ** 2).mean(-1, keepdims=True)
    return (x - m) * lax.rsqrt(v + 1e-5) * w + c


def conv(x, w, stride=1, pad=0, groups=1):
    return lax.conv_general_dilated(x, w, (stride, stride), [(pad, pad)] * 2, dimension_numbers=("NCHW", "OIHW", "NCHW"),
                                    feature_group_count=groups)


def operations():
    for m, k, n in GEMMS:
        both(f"gemm_{m}x{k}x{n}", jnp.matmul, lambda: (R(m, k), R(k, n)), (0, 1), flops=2 * m * k * n,
             bytes=4 * (m * k + k * n + m * n))
    for n, s in SIZES:
        both(f"add_{s}", jnp.add, lambda: (R(n), R(n)), (0, 1), bytes=12 * n)
        both(f"exp_{s}", jnp.exp, lambda: (R(n),), (0,), bytes=8 * n)
        both(f"gelu_{s}", lambda x: nn.gelu(x, approximate=False), lambda: (R(n),), (0,), bytes=8 * n)
        both(f"chain_{s}", lambda x: nn.relu(x * 2 + 1).sum(), lambda: (R(n),), (0,), bytes=4 * n)
    both("softmax_4096x1024", nn.softmax, lambda: (R(4096, 1024),), (0,), bytes=8 * 4096 * 1024)
    both("sum_rows_4096x1024", lambda x: x.sum(1), lambda: (R(4096, 1024),), (0,), bytes=4 * 4096 * 1024)
    both("layernorm_4096x768", layernorm, lambda: (R(4096, 768), R(768), R(768)), (0, 1, 2), bytes=8 * 4096 * 768)
    for name, (n, ci, side, co, k, stride, pad, groups) in CONVS.items():
        if "dw" in name:
            continue  # XLA takes minutes over depthwise convolutions.
        o = (side + 2 * pad - k) // stride + 1
        both(name, lambda x, w: conv(x, w, stride, pad, groups), lambda: (R(n, ci, side, side), R(co, ci // groups, k, k)),
             (1,) if ci == 3 else (0, 1), flops=2 * n * co * o * o * (ci // groups) * k * k, budgets=2)


# Models: their parameters are lists of arrays.
lin = lambda i, o: [R(i, o) * i ** -0.5, jnp.zeros(o)]
affine = lambda x, p: x @ p[0] + p[1]


def mlp_params():
    return [lin(784, 512), lin(512, 512), lin(512, 10)]


def mlp(p, x):
    return affine(nn.relu(affine(nn.relu(affine(x, p[0])), p[1])), p[2])


def lenet_params():
    return [[R(20, 1, 5, 5) * 0.2, jnp.zeros((20, 1, 1))], [R(50, 20, 5, 5) * 0.05, jnp.zeros((50, 1, 1))],
            lin(800, 500), lin(500, 10)]


def lenet(p, x):
    pool = lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
    x = pool(nn.relu(conv(x, p[0][0]) + p[0][1]))
    x = pool(nn.relu(conv(x, p[1][0]) + p[1][1]))
    return affine(nn.relu(affine(x.reshape(x.shape[0], -1), p[2])), p[3])


def gpt_params(d=256):
    norm = lambda: [jnp.ones(d), jnp.zeros(d)]
    layer = lambda: dict(ln1=norm(), ln2=norm(), qkv=lin(d, 3 * d), proj=lin(d, d), up=lin(d, 4 * d), down=lin(4 * d, d))
    return dict(tok=R(LETTERS, d), pos=R(256, d), layers=[layer() for _ in range(4)], ln=norm(), head=R(d, LETTERS) * d ** -0.5)


def gpt(p, idx):
    n, t = idx.shape
    x = p["tok"][idx] + p["pos"][:t]
    mask = jnp.tril(jnp.ones((t, t), bool))
    for l in p["layers"]:
        q, k, v = affine(layernorm(x, *l["ln1"]), l["qkv"]).reshape(n, t, 3, 4, 64).transpose(2, 0, 3, 1, 4)
        att = nn.softmax(jnp.where(mask, q @ k.swapaxes(-1, -2) * 0.125, -jnp.inf))
        x = x + affine((att @ v).swapaxes(1, 2).reshape(n, t, -1), l["proj"])
        x = x + affine(nn.gelu(affine(layernorm(x, *l["ln2"]), l["up"]), approximate=False), l["down"])
    return layernorm(x, *p["ln"]) @ p["head"]


def lstm_params(d=256):
    cell = lambda: [R(d, 4 * d) * 0.06, R(d, 4 * d) * 0.06, jnp.zeros(4 * d)]
    return dict(emb=R(LETTERS, d), cells=[cell(), cell()], head=lin(d, LETTERS))


def lstm(p, idx):
    x = p["emb"][idx].swapaxes(0, 1)
    for wi, wh, c in p["cells"]:
        def cell(s, u):
            i, f, g, o = jnp.split(u + s[0] @ wh, 4, -1)
            cc = nn.sigmoid(f) * s[1] + nn.sigmoid(i) * jnp.tanh(g)
            h = nn.sigmoid(o) * jnp.tanh(cc)
            return (h, cc), h
        z = jnp.zeros((x.shape[1], wh.shape[0]))
        x = lax.scan(cell, (z, z), x @ wi + c)[1]
    return affine(x.swapaxes(0, 1), p["head"])


def train(name, params, f, x, y):
    if not b.wants(name):
        return
    x, y, p = x(), y(), params()
    m, v = jax.tree.map(jnp.zeros_like, p), jax.tree.map(jnp.zeros_like, p)
    def loss(p, x, y):
        logp = nn.log_softmax(f(p, x))
        return -jnp.take_along_axis(logp, y[..., None], -1).mean()
    def adam(p, m, v, t, x, y):
        l, g = jax.value_and_grad(loss)(p, x, y)
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        s = 1e-3 * jnp.sqrt(1 - 0.999 ** t) / (1 - 0.9 ** t)
        return jax.tree.map(lambda p, m, v: p - s * m / (jnp.sqrt(v) + 1e-8), p, m, v), m, v, t + 1, l
    step = jax.jit(adam, donate_argnums=(0, 1, 2, 3))
    state = [p, m, v, jnp.float32(1)]
    def go():
        *state[:], l = step(*state, x, y)
        l.block_until_ready()
    start = time.perf_counter()
    go()
    b.emit(name + "_compile", time.perf_counter() - start, 0)
    b.run(name, go, budgets=4)
    b.emit_memory(name)


def infer(name, params, f, x):
    if b.wants(name):
        p, x, forward = params(), x(), jax.jit(f)
        b.run(name, lambda: forward(p, x).block_until_ready())


operations()
train("train_mlp", mlp_params, mlp, lambda: R(128, 784), lambda: integers(10, 128))
train("train_lenet", lenet_params, lenet, lambda: R(128, 1, 28, 28), lambda: integers(10, 128))
train("train_gpt", gpt_params, gpt, lambda: letters(8, 256), lambda: letters(8, 256))
train("train_lstm", lstm_params, lstm, lambda: letters(32, 64), lambda: letters(32, 64))
infer("infer_mlp", mlp_params, mlp, lambda: R(1, 784))
infer("infer_mlp_b128", mlp_params, mlp, lambda: R(128, 784))
infer("infer_lenet", lenet_params, lenet, lambda: R(1, 1, 28, 28))
infer("infer_gpt_256", gpt_params, gpt, lambda: letters(1, 256))
infer("infer_lstm_64", lstm_params, lstm, lambda: letters(1, 64))
b.finish()
