"""PyTorch on a GPU: the workloads of ``bench/src/gpu.rs`` under the same names, one JSON line each.

--variant compile runs everything under torch.compile. It needs nothing of the other peers' files but their models."""
import argparse
import json
import re
import time

import torch
import torch.nn.functional as F

import models_torch as M

parser = argparse.ArgumentParser()
parser.add_argument("--only", default="")
parser.add_argument("--skip", default="^$")
parser.add_argument("--budget", type=float, default=0.3)
parser.add_argument("--variant", default="")
args = parser.parse_args()
device = torch.device("cuda")
peer = "torch" + (f"-{args.variant}" if args.variant else "")
compiled = torch.compile if args.variant == "compile" else (lambda f: f)
torch.manual_seed(0)
TYPES = [("f32", torch.float32, 4), ("bf16", torch.bfloat16, 2)]


def wants(name):
    return re.search(args.only, name) and not re.search(args.skip, name)


def timed(f, calls):
    start = time.perf_counter()
    for _ in range(calls):
        f()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / calls


def run(name, f, flops=0, bytes=0, budgets=1.0):
    if not wants(name):
        return
    try:
        for _ in range(3):
            timed(f, 1)
        group = max(1, int(1e-2 / max(timed(f, 1), 1e-7)))
        times, start = [], time.perf_counter()
        while len(times) < 5 or (time.perf_counter() - start < args.budget * budgets and len(times) < 2000):
            times.append(timed(f, group))
    except Exception as e:
        print(json.dumps({"workload": name, "peer": peer, "error": str(e)[:200]}), flush=True)
        return
    times.sort()
    median = times[len(times) // 2]
    extra = {"n": len(times), **({"gflops": round(flops / median / 1e9, 1)} if flops else {}),
             **({"gbs": round(bytes / median / 1e9, 2)} if bytes else {})}
    print(json.dumps({"workload": name, "peer": peer, "threads": 1, "median_s": median, "min_s": times[0],
                      "extra": extra}), flush=True)


def R(*shape, dtype=torch.float32):
    return torch.randn(*shape, device=device, dtype=dtype)


def integers(high, *shape):
    return torch.randint(0, high, shape, device=device)


def pair(name, f, make, grads=(), bytes=0, both=0):
    forward, backward = name + "_fwd", name + "_fwdbwd"
    if not (wants(forward) or (grads and wants(backward))):
        return
    f = compiled(f)
    inputs = make()

    def no_tape():
        with torch.no_grad():
            f(*inputs)

    run(forward, no_tape, bytes=bytes)
    if grads and wants(backward):
        xs = [x.detach().requires_grad_(i in grads) if x.is_floating_point() else x for i, x in enumerate(inputs)]
        seed, leaves = torch.ones_like(f(*xs)), [xs[i] for i in grads]
        run(backward, lambda: torch.autograd.grad(f(*xs), leaves, seed), bytes=both)
    del inputs
    torch.cuda.empty_cache()


def main():
    pair("gpu_add_1", torch.add, lambda: (R(1), R(1)), (0, 1))
    for name, dtype, size in TYPES:
        for n in (1024, 2048, 4096, 8192):
            if wants(f"gpu_gemm_{n}_{name}_fwd"):
                a, b = R(n, n, dtype=dtype), R(n, n, dtype=dtype)
                run(f"gpu_gemm_{n}_{name}_fwd", lambda: a @ b, flops=2 * n**3)
    n = 1 << 27
    for name, dtype, size in TYPES:
        pair(f"gpu_gelu_128Mi_{name}", F.gelu, lambda: (R(n, dtype=dtype),), (0,), 2 * size * n, 5 * size * n)
        pair(f"gpu_add_128Mi_{name}", torch.add, lambda: (R(n, dtype=dtype), R(n, dtype=dtype)), (), 3 * size * n)
    pair("gpu_cast_128Mi_f32_bf16", lambda x: x.to(torch.bfloat16), lambda: (R(n),), (), 6 * n)
    side = 16384
    for name, dtype, size in TYPES:
        square, bytes = (lambda: (R(side, side, dtype=dtype),)), 2 * size * side * side
        pair(f"gpu_copy_16384_{name}", torch.clone, square, (), bytes)
        pair(f"gpu_transpose_16384_{name}", lambda x: x.t().contiguous(), square, (), bytes)
        pair(f"gpu_broadcast_add_16384_{name}", lambda x: x + x[0], square, (), bytes)
    for name, dtype, size in TYPES:
        n, x = 32768 * 4096, lambda: (R(32768, 4096, dtype=dtype),)
        pair(f"gpu_softmax_32768x4096_{name}", lambda x: F.softmax(x, 1), x, (0,), 2 * size * n, 5 * size * n)
        pair(f"gpu_sum_all_32768x4096_{name}", torch.sum, x, (), size * n)
        pair(f"gpu_sum_rows_32768x4096_{name}", lambda x: x.sum(1), x, (), size * n)
        pair(f"gpu_sum_cols_32768x4096_{name}", lambda x: x.sum(0), x, (), size * n)
        pair(f"gpu_argmax_rows_32768x4096_{name}", lambda x: x.argmax(1), x, (), size * n)
        pair(f"gpu_cumsum_rows_32768x4096_{name}", lambda x: x.cumsum(1), x, (), 2 * size * n)
        n = 65536 * 1024
        pair(f"gpu_layernorm_65536x1024_{name}", lambda x, w, c: F.layer_norm(x, (1024,), w, c),
             lambda: (R(65536, 1024, dtype=dtype), R(1024, dtype=dtype), R(1024, dtype=dtype)), (0, 1, 2),
             2 * size * n, 5 * size * n)
        n = 8192 * 50304
        pair(f"gpu_xent_8192x50304_{name}", F.cross_entropy,
             lambda: (R(8192, 50304, dtype=dtype), integers(50304, 8192)), (0,), size * n, 3 * size * n)
    pair("gpu_embedding_50304x768_65536_f32", lambda w, i: F.embedding(i, w), lambda: (R(50304, 768), integers(50304, 65536)),
         (0,), 8 * 65536 * 768)
    if wants("gpu_sort_16Mi_f32_fwd"):
        x = R(1 << 24)
        run("gpu_sort_16Mi_f32_fwd", lambda: x.sort(), bytes=16 << 24)
    run("gpu_randn_128Mi_f32_fwd", lambda: R(1 << 27), bytes=4 << 27)
    optimizer()
    trainings()


def optimizer():
    if not wants("gpu_opt_adamw_124M"):
        return
    layer = [(768,), (768,), (2304, 768), (2304,), (768, 768), (768,), (768,), (768,), (3072, 768), (3072,), (768, 3072), (768,)]
    params = [torch.nn.Parameter(R(*shape)) for shape in [(50304, 768), (1024, 768)] + layer * 12]
    for p in params:
        p.grad = torch.randn_like(p)
    opt = torch.optim.AdamW(params, 1e-3, fused=True)
    run("gpu_opt_adamw_124M", opt.step, bytes=28 * sum(p.numel() for p in params))


def trainings():
    letters = lambda *shape: integers(65, *shape)
    made = {
        "mlp": (M.mlp, lambda: R(128, 784), lambda: integers(10, 128), torch.optim.Adam),
        "lenet": (M.lenet, lambda: R(128, 1, 28, 28), lambda: integers(10, 128), torch.optim.Adam),
        "resnet18": (M.resnet18, lambda: R(8, 3, 224, 224), lambda: integers(1000, 8),
                     lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9)),
        "gpt": (M.GPT, lambda: letters(8, 256), lambda: letters(8, 256), torch.optim.AdamW),
        "lstm": (M.LSTM, lambda: letters(32, 64), lambda: letters(32, 64), torch.optim.Adam),
    }
    for name, (model, x, y, optimizer) in made.items():
        if not wants(f"gpu_train_{name}"):
            continue
        net, x, y = model().to(device), x(), y().flatten()
        opt = optimizer(net.parameters(), 1e-3)
        forward = compiled(net)

        def step():
            opt.zero_grad()
            out = forward(x)
            F.cross_entropy(out.reshape(len(y), -1), y).backward()
            opt.step()

        run(f"gpu_train_{name}", step, budgets=2.0)


main()
