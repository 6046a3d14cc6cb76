"""PyTorch's own op samples, run through both libraries.

Walks `torch.testing._internal`'s op_db: for every op that Esker has under the same name, each sample's result and
gradients are compared. As a program it prints the counts and what differs:

    python torch_ops.py [--only REGEX] [--dtype float32] [--json FILE]
"""

import argparse
import collections
import json
import re
import sys
import warnings

import torch
from torch.testing._internal.common_methods_invocations import op_db
from torch.utils._pytree import tree_flatten, tree_map

import esker

warnings.filterwarnings("ignore")

# By dtype: relative to the value, and to the largest value (sums that cancel carry the error of their largest part).
TOLERANCE = {torch.float32: (1e-4, 2e-5), torch.float64: (1e-9, 1e-10)}

# Results that differ from one library's generator to the other's: shape and dtype are compared.
RANDOM = re.compile(r"dropout|rand|normal|uniform|bernoulli|multinomial|^empty|empty_like|new_empty|rrelu|exponential|cauchy|geometric")


# Samples whose arguments stand in another order than the function's own, and what is no function but an attribute.
ADAPTED = {
    "where": lambda x, condition, other: esker.where(condition, x, other),
    "einsum": lambda operands, equation: esker.einsum(equation, *operands),
    "nn.functional.embedding": lambda weight, index, **kwargs: esker.nn.functional.embedding(index, weight, **kwargs),
    "T": lambda x: x.T,
    "mT": lambda x: x.mT,
}

# What has the name in Esker and is not the op of the samples: views of memory that Esker's values do not have, results
# that are no tensors, and changes in place (which need `no_grad` for a leaf).
LEFT_OUT = re.compile(r"^(as_strided\[partial_views\]|broadcast_shapes|zero_|uniform|normal(\[.*\])?|float_power)$")


def find(name):
    """Esker's function of PyTorch's name, or None."""
    if name in ADAPTED:
        return ADAPTED[name]
    place = esker
    for part in name.split("."):
        place = getattr(place, part, None)
    return place if callable(place) else getattr(esker.Tensor, name, None)


def to_esker(value, seen):
    """A torch argument as Esker's, in the same layout; the same tensor gives the same one. `seen` holds the pairs."""
    if isinstance(value, torch.Tensor):
        if id(value) not in seen:
            seen[id(value)] = (value, tensor(value))
        return seen[id(value)][1]
    if isinstance(value, torch.dtype):
        return getattr(esker, str(value).removeprefix("torch."))
    if isinstance(value, torch.Size):
        return tuple(value)
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return type(value)(to_esker(v, seen) for v in value)
    if isinstance(value, (torch.device, torch.memory_format, torch.layout)):
        raise Unsupported(f"a {type(value).__name__}")
    return value


def tensor(value):
    """A torch tensor as Esker's."""
    plain = value.detach()
    if plain.numel() and plain.dtype != torch.bool:
        ours = esker.from_dlpack(plain)
    else:
        ours = esker.tensor(plain.tolist(), dtype=to_esker(plain.dtype, {})).reshape(tuple(plain.shape))
    return ours.detach().requires_grad_() if value.requires_grad else ours


class Unsupported(Exception):
    """An argument that has no meaning outside of PyTorch."""


class Differs(Exception):
    """What is not equal."""


def compare(got, want, what, values=True, exact=None):
    """Raises `Differs` unless two results are equal; `exact` gives PyTorch's result in f64, for those that are far apart."""
    got, want = tree_flatten(got)[0], tree_flatten(want)[0]
    if len(got) != len(want):
        raise Differs(f"{what}: {len(got)} results, {len(want)} expected")
    for i, (g, w) in enumerate(zip(got, want)):
        if not isinstance(w, torch.Tensor):
            if isinstance(g, esker.Tensor):
                g = g.item()
            if g != w and not (g != g and w != w):
                raise Differs(f"{what}: {g!r}, expected {w!r}")
            continue
        if not isinstance(g, esker.Tensor):
            raise Differs(f"{what}: a {type(g).__name__}, expected a tensor")
        if str(g.dtype).split(".")[-1] != str(w.dtype).removeprefix("torch."):
            raise Differs(f"{what}: dtype {g.dtype}, expected {w.dtype}")
        if tuple(g.shape) != tuple(w.shape):
            raise Differs(f"{what}: shape {tuple(g.shape)}, expected {tuple(w.shape)}")
        if values:
            rtol, atol = TOLERANCE.get(w.dtype, (0, 0))
            atol *= max(1.0, w.detach().abs().nan_to_num(0, 0, 0).max().item() if rtol and w.numel() else 1.0)
            a, b = torch.tensor(g.detach().tolist(), dtype=w.dtype).reshape(w.shape), w.detach()
            if not torch.allclose(a, b, rtol=rtol, atol=atol, equal_nan=True):
                if exact and w.dtype == torch.float32:
                    truth = tree_flatten(exact())[0][i].detach()
                    if (a - truth).abs().max() <= 4 * (b - truth).abs().max():
                        continue  # Rounding carries PyTorch itself as far.
                raise Differs(f"{what}: values, largest difference {(a.double() - b.double()).abs().max().item():.3g}")


def weights(x):
    """Fixed weights that make a scalar of a result."""
    return torch.linspace(0.5, 1.5, x.numel(), dtype=torch.float64).to(x.dtype).reshape(x.shape)


def floats(result):
    return [x for x in tree_flatten(result)[0] if hasattr(x, "requires_grad") and x.requires_grad]


def double(value):
    """An argument in f64, as a leaf of its own."""
    if isinstance(value, torch.Tensor) and value.is_floating_point():
        return value.detach().double().requires_grad_(value.requires_grad)
    return torch.float64 if value is torch.float32 else value


def gradients(result, leaves):
    """Of the weighted sum of all results that have a history, by each leaf."""
    total = sum((w * weights(w)).sum() for w in floats(result))
    found = torch.autograd.grad(total, leaves, allow_unused=True)
    return [torch.zeros_like(x) if g is None else g for x, g in zip(leaves, found)]


def check(ours, op, sample, differentiable):
    """Compares one sample; returns False when PyTorch itself refuses it."""
    seen = {}
    inputs = [to_esker(x, seen) for x in (sample.input, *sample.args)]
    kwargs = {name: to_esker(x, seen) for name, x in sample.kwargs.items()}
    leaves = [pair for pair in seen.values() if pair[0].requires_grad]
    try:
        want = op.op(sample.input, *sample.args, **sample.kwargs)
    except Exception:
        return False
    got = ours(*inputs, **kwargs)

    twins = {key: double(pair[0]) for key, pair in seen.items()}

    def exact():
        swap = lambda x: twins.get(id(x), double(x))
        args = tree_map(swap, (sample.input, *sample.args))
        return op.op(*args, **tree_map(swap, sample.kwargs))

    random = bool(RANDOM.search(op.name)) or bool(sample.kwargs.get("dropout_p"))
    compare(got, want, "forward", not random, exact)
    if random or not differentiable or not leaves or not floats(want):
        return True
    theirs, mine = floats(want), floats(got)
    if len(theirs) != len(mine):
        raise Differs(f"gradient: {len(mine)} results have a history, {len(theirs)} expected")
    expected = gradients(want, [t for t, _ in leaves])
    total = None
    for g, w in zip(mine, theirs):
        part = (g * esker.from_dlpack(weights(w).contiguous())).sum()
        total = part if total is None else total + part
    total.backward()
    found = [esker.zeros_like(e.detach()) if e.grad is None else e.grad for _, e in leaves]
    doubles = [twins[id(t)] for t, _ in leaves]
    compare(found, expected, "gradient", exact=lambda: gradients(exact(), doubles))
    return True


def walk(only=None, dtype=torch.float32, limit=None):
    """Runs every sample of every op that both have; gives (op, sample number, what differs or None)."""
    for op in op_db:
        if only and not re.search(only, op.name) or dtype not in op.supported_dtypes("cpu"):
            continue
        ours = find(op.name)
        label = op.name + (f"[{op.variant_test_name}]" if op.variant_test_name else "")
        if ours is None or LEFT_OUT.match(label):
            continue
        differentiable = dtype in op.supported_backward_dtypes("cpu") and op.supports_autograd and dtype.is_floating_point
        torch.manual_seed(0)
        for i, sample in enumerate(op.sample_inputs("cpu", dtype, requires_grad=differentiable)):
            if limit is not None and i >= limit:
                break
            try:
                if check(ours, op, sample, differentiable):
                    yield label, i, None
            except Unsupported:
                continue
            except Exception as error:
                yield label, i, f"{type(error).__name__}: {error} | {describe(sample)}"


def describe(sample):
    """A sample in a line."""
    def short(x):
        return f"{str(x.dtype)[6:]}{list(x.shape)}" if isinstance(x, torch.Tensor) else x
    args = tree_map(short, (sample.input, *sample.args))
    return f"args={args} kwargs={tree_map(short, sample.kwargs)}"[:300]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", help="a regular expression on the op's name")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--limit", type=int, help="samples of each op")
    parser.add_argument("--json", help="a file for all results")
    args = parser.parse_args()
    counts, seen = collections.defaultdict(lambda: [0, 0]), {}
    results = list(walk(args.only, getattr(torch, args.dtype), args.limit))
    for label, i, wrong in results:
        counts[label][wrong is not None] += 1
        if wrong is not None:
            seen.setdefault(label, wrong)
    for label, (good, bad) in sorted(counts.items(), key=lambda c: -c[1][1]):
        if bad:
            print(f"{label}: {bad} of {good + bad} differ, first: {seen[label]}")
    good, bad = (sum(c[k] for c in counts.values()) for k in (0, 1))
    print(f"torch {torch.__version__}, {args.dtype}: {len(counts)} ops, {good + bad} samples, {good} agree ({100 * good / max(1, good + bad):.2f} %), {bad} differ")
    if args.json:
        with open(args.json, "w") as f:
            json.dump(results, f)
    return 0 if good >= 0.95 * (good + bad) else 1


if __name__ == "__main__":
    sys.exit(main())
