"""NumPy (OpenBLAS): products and functions of single elements, as one more yardstick."""
import os
from common import *

args = arguments()
os.environ["OPENBLAS_NUM_THREADS"] = str(args.threads)
import numpy as np

b = Bench("numpy", args)
rng = np.random.default_rng(0)
R = lambda *shape: rng.standard_normal(shape, dtype=np.float32)


def forward(name, f, make, **kw):
    if b.wants(name + "_fwd"):
        inputs = make()
        b.run(name + "_fwd", lambda: f(*inputs), **kw)


for m, k, n in GEMMS:
    forward(f"gemm_{m}x{k}x{n}", np.matmul, lambda: (R(m, k), R(k, n)), flops=2 * m * k * n)
for n, s in SIZES:
    forward(f"add_{s}", np.add, lambda: (R(n), R(n)), bytes=12 * n)
    forward(f"exp_{s}", np.exp, lambda: (R(n),), bytes=8 * n)
    forward(f"chain_{s}", lambda x: np.maximum(x * 2 + 1, 0).sum(), lambda: (R(n),), bytes=4 * n)
forward("sort_1e6", np.sort, lambda: (R(1_000_000),))
forward("cumsum_1e6", np.cumsum, lambda: (R(1_000_000),), bytes=8e6)
forward("transpose_4096", lambda x: np.ascontiguousarray(x.T), lambda: (R(4096, 4096),), bytes=8 * 4096 * 4096)
forward("randn_1e6", lambda: R(1_000_000), lambda: (), bytes=4e6)
b.finish()
