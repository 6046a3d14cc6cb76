"""PyTorch: eager, and with --variant compile the steps of training and inference under torch.compile.

Any other --variant only names the peer (for runs under another allocator, for instance)."""
import os
from common import *

args = arguments()
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(args.threads)
import torch, torch.nn.functional as F
import models_torch as M

torch.set_num_threads(args.threads)
torch.manual_seed(0)
b = Bench("torch", args)
compiled = args.variant == "compile"
comp = torch.compile if compiled else (lambda f: f)
R, integers = torch.randn, lambda high, *shape: torch.randint(0, high, shape)
letters = lambda *shape: integers(LETTERS, *shape)


def both(name, f, make, grads, flops=0, bytes=0, **kw):
    """f forward under no_grad, then forward and backward with respect to `grads` of the inputs that `make` returns."""
    if not b.wants_pair(name):
        return
    inputs = make()
    def forward():
        with torch.no_grad():
            f(*inputs)
    b.run(name + "_fwd", forward, flops=flops, bytes=bytes, **kw)
    if not b.wants(name + "_fwdbwd"):
        return
    xs = [x.detach().clone().requires_grad_(i in grads) if x.is_floating_point() else x for i, x in enumerate(inputs)]
    y = f(*xs)
    seed, leaves = torch.ones_like(y), [xs[i] for i in grads]
    del y
    b.run(name + "_fwdbwd", lambda: torch.autograd.grad(f(*xs), leaves, seed), flops=flops * 3, **kw)


def forward(name, f, make, **kw):
    if b.wants(name):
        inputs = make()
        b.run(name, lambda: f(*inputs), **kw)


def elementwise():
    for n, s in SIZES:
        both(f"add_{s}", torch.add, lambda: (R(n), R(n)), (0, 1), bytes=12 * n)
        both(f"exp_{s}", torch.exp, lambda: (R(n),), (0,), bytes=8 * n)
        both(f"gelu_{s}", F.gelu, lambda: (R(n),), (0,), bytes=8 * n)
        both(f"chain_{s}", lambda x: (x * 2 + 1).relu().sum(), lambda: (R(n),), (0,), bytes=4 * n)


def rows():
    n = 4096 * 1024
    x = lambda: (R(4096, 1024),)
    both("softmax_4096x1024", lambda x: F.softmax(x, 1), x, (0,), bytes=8 * n)
    both("xent_4096x1024", F.cross_entropy, lambda: (*x(), integers(1024, 4096)), (0,), bytes=4 * n)
    both("sum_all_4096x1024", torch.sum, x, (0,), bytes=4 * n)
    both("sum_rows_4096x1024", lambda x: x.sum(1), x, (0,), bytes=4 * n)
    both("sum_cols_4096x1024", lambda x: x.sum(0), x, (0,), bytes=4 * n)
    both("max_rows_4096x1024", lambda x: x.amax(1), x, (0,), bytes=4 * n)
    forward("argmax_rows_4096x1024_fwd", lambda x: x.argmax(1), x, bytes=4 * n)
    both("layernorm_4096x768", lambda x, w, c: F.layer_norm(x, (768,), w, c), lambda: (R(4096, 768), R(768), R(768)),
         (0, 1, 2), bytes=8 * 4096 * 768)


def planes():
    shape = (32, 64, 56, 56)
    n = 32 * 64 * 56 * 56
    bn = torch.nn.BatchNorm2d(64)
    both("batchnorm_32x64x56x56", lambda x, w, c: F.batch_norm(x, bn.running_mean, bn.running_var, w, c, True),
         lambda: (R(*shape), R(64), R(64)), (0, 1, 2), bytes=8 * n)
    both("maxpool2_32x64x56x56", lambda x: F.max_pool2d(x, 2), lambda: (R(*shape),), (0,), bytes=5 * n)
    forward("nchw_to_nhwc_32x64x56x56_fwd", lambda x: x.permute(0, 2, 3, 1).contiguous(), lambda: (R(*shape),), bytes=8 * n)
    square = lambda: (R(4096, 4096),)
    forward("transpose_4096_fwd", lambda x: x.t().contiguous(), square, bytes=8 * 4096 * 4096)
    forward("broadcast_add_4096_fwd", lambda x: x + x[0], square, bytes=8 * 4096 * 4096)


def gathers():
    both("embedding_10000x256_8192", lambda w, i: F.embedding(i, w), lambda: (R(10000, 256), integers(10000, 8192)), (0,),
         bytes=8 * 8192 * 256)
    both("index_select_100000x64_50000", lambda w, i: w.index_select(0, i),
         lambda: (R(100000, 64), integers(100000, 50000)), (0,), bytes=8 * 50000 * 64)
    forward("scatter_add_100000x64_50000_fwd", lambda z, i, x: z.index_add(0, i, x),
            lambda: (torch.zeros(100000, 64), integers(100000, 50000), R(50000, 64)), bytes=8 * 150000 * 64)
    both("cat_8x1024x512", lambda *a: torch.cat(a, 1), lambda: [R(1024, 512) for _ in range(8)], tuple(range(8)),
         bytes=8 * 8 * 1024 * 512)


def order():
    x = lambda: (R(1_000_000),)
    forward("sort_1e6_fwd", torch.sort, x)
    forward("topk100_1e6_fwd", lambda x: x.topk(100), x)
    forward("cumsum_1e6_fwd", lambda x: x.cumsum(0), x, bytes=8e6)
    forward("cumsum_rows_1024x1024_fwd", lambda x: x.cumsum(1), lambda: (R(1024, 1024),), bytes=8 * 1024 * 1024)
    forward("randn_1e6_fwd", lambda: R(1_000_000), lambda: (), bytes=4e6)


def convolutions():
    for name, (n, ci, side, co, k, stride, pad, groups) in CONVS.items():
        o = (side + 2 * pad - k) // stride + 1
        both(name, lambda x, w: F.conv2d(x, w, None, stride, pad, groups=groups),
             lambda: (R(n, ci, side, side), R(co, ci // groups, k, k)), (1,) if ci == 3 else (0, 1),
             flops=2 * n * co * o * o * (ci // groups) * k * k, budgets=2)


def train(name, make, x, y, optimizer):
    """Steps of training, then the optimiser's part alone with the last gradients still there."""
    train_name, alone = "train_" + name, "opt_" + name
    if not b.wants(train_name, alone):
        return
    model, x, y = make(), x(), y()
    opt = optimizer(model.parameters())
    def loss_of(x, y):
        out = model(x)
        return F.cross_entropy(out.reshape(-1, out.shape[-1]), y.reshape(-1))
    loss = comp(loss_of)
    def step():
        opt.zero_grad(set_to_none=True)
        loss(x, y).backward()
        opt.step()
    start = time.perf_counter()
    step()
    if compiled:
        b.emit(train_name + "_compile", time.perf_counter() - start, 0)
    b.run(train_name, step, budgets=4)
    b.emit_memory(train_name)
    if not compiled:
        b.run(alone, opt.step)


def trainings():
    adam = lambda p: torch.optim.Adam(p, 1e-3)
    adamw = lambda p: torch.optim.AdamW(p, 1e-3)
    sgd = lambda p: torch.optim.SGD(p, 1e-3, momentum=0.9)
    train("mlp", M.mlp, lambda: R(128, 784), lambda: integers(10, 128), adam)
    train("lenet", M.lenet, lambda: R(128, 1, 28, 28), lambda: integers(10, 128), adam)
    train("resnet18", M.resnet18, lambda: R(8, 3, 224, 224), lambda: integers(1000, 8), sgd)
    train("gpt", M.GPT, lambda: letters(8, 256), lambda: letters(8, 256), adamw)
    train("lstm", M.LSTM, lambda: letters(32, 64), lambda: letters(32, 64), adam)


def infer(name, make, x, **kw):
    if not b.wants(name):
        return
    model, x = comp(make().eval()), x()
    def go():
        with torch.inference_mode():
            model(x)
    b.run(name, go, warm=10, **kw)


def inferences():
    infer("infer_mlp", M.mlp, lambda: R(1, 784))
    infer("infer_mlp_b128", M.mlp, lambda: R(128, 784))
    infer("infer_lenet", M.lenet, lambda: R(1, 1, 28, 28))
    infer("infer_resnet18", M.resnet18, lambda: R(1, 3, 224, 224), budgets=3)
    infer("infer_gpt_256", M.GPT, lambda: letters(1, 256), budgets=2)
    infer("infer_lstm_64", M.LSTM, lambda: letters(1, 64))


def decoding():
    if not b.wants("decode_gpt_64tok"):
        return
    gpt = M.GPT().eval()
    zeros = [torch.zeros(1, 4, BEFORE, 64) for _ in range(8)]
    def decode():
        with torch.inference_mode():
            caches, letter = zeros, torch.zeros(1, 1, dtype=torch.long)
            for i in range(DECODED):
                logits, caches = gpt.step(letter, torch.tensor([BEFORE + i]), caches)
                letter = logits.argmax(-1)
    b.run("decode_gpt_64tok", decode, budgets=3)


if not compiled:
    for m, k, n in GEMMS:
        both(f"gemm_{m}x{k}x{n}", torch.mm, lambda: (R(m, k), R(k, n)), (0, 1), flops=2 * m * k * n,
             bytes=4 * (m * k + k * n + m * n))
    elementwise()
    rows()
    planes()
    gathers()
    order()
    convolutions()
trainings()
inferences()
if not compiled:
    decoding()
b.finish()
