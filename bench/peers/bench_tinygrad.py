"""tinygrad on the CPU (it needs clang) under TinyJit: products, and steps of training of the perceptron and LeNet."""
import os
from common import *

args = arguments()
os.environ["CPU_COUNT"], os.environ["TRAINING"] = str(args.threads), "1"
from tinygrad import Tensor, TinyJit, nn

b = Bench("tinygrad", args)


def product(m, k, n):
    name = f"gemm_{m}x{k}x{n}_fwd"
    if b.wants(name):
        x, y = Tensor.randn(m, k).realize(), Tensor.randn(k, n).realize()
        f = TinyJit(lambda x, y: (x @ y).realize())
        b.run(name, lambda: f(x, y), flops=2 * m * k * n)


class MLP:
    def __init__(self):
        self.a, self.b, self.c = nn.Linear(784, 512), nn.Linear(512, 512), nn.Linear(512, 10)

    def __call__(self, x):
        return self.c(self.b(self.a(x).relu()).relu())


class LeNet:
    def __init__(self):
        self.a, self.b, self.c, self.d = nn.Conv2d(1, 20, 5), nn.Conv2d(20, 50, 5), nn.Linear(800, 500), nn.Linear(500, 10)

    def __call__(self, x):
        x = self.b(self.a(x).relu().max_pool2d()).relu().max_pool2d()
        return self.d(self.c(x.flatten(1)).relu())


def train(name, make, *shape):
    if not b.wants(name):
        return
    model = make()
    opt = nn.optim.Adam(nn.state.get_parameters(model), 1e-3)
    x, y = Tensor.randn(*shape).realize(), Tensor.randint(128, high=10).realize()
    @TinyJit
    def step():
        opt.zero_grad()
        loss = model(x).sparse_categorical_crossentropy(y).backward()
        return loss.realize(*opt.schedule_step())
    b.run(name, lambda: step().item(), budgets=4)
    b.emit_memory(name)


for size in GEMMS[:3]:
    product(*size)
train("train_mlp", MLP, 128, 784)
train("train_lenet", LeNet, 128, 1, 28, 28)
b.finish()
