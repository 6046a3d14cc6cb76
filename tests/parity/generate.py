"""Loss curves of PyTorch over 100 training steps, for tests/parity.rs to compare with: writes curves.json beside itself.

    python tests/parity/generate.py

Weights and batches are a formula on both sides (`uniform` below and in parity.rs), so that the curves are all that is
stored: for each model the f64 curve, and the f32 one that says how far rounding carries PyTorch itself.
"""

import json
import pathlib

import numpy
import torch
from torch import nn
from torch.nn import functional as F

STEPS = 100


def uniform(stream, n):
    """n numbers in [-1, 1): splitmix64 of (stream, i)."""
    with numpy.errstate(over="ignore"):
        z = (numpy.arange(n, dtype=numpy.uint64) + numpy.uint64(1) + (numpy.uint64(stream) << numpy.uint64(32))) * numpy.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
        z = z ^ (z >> numpy.uint64(31))
    return (z >> numpy.uint64(11)).astype(numpy.float64) * 2.0**-52 - 1.0


def reals(stream, *shape):
    return torch.from_numpy(uniform(stream, int(numpy.prod(shape))).reshape(shape))


def labels(x, count):
    """Which of a sample's first `count` numbers is the largest."""
    return x.flatten(1)[:, :count].argmax(1)


def tokens(stream, count, n, length):
    """Rows in which each token follows from the one before it: 3 t + 1."""
    rows = [((reals(stream, n) + 1) / 2 * count).floor().long()]
    while len(rows) < length:
        rows.append((3 * rows[-1] + 1) % count)
    return torch.stack(rows, 1)


def fill(model):
    """Every parameter from its own stream: 1 + u / 10 for weights of norms, else u / sqrt(fan in)."""
    with torch.no_grad():
        for i, (name, p) in enumerate(model.named_parameters()):
            u = reals(1000 + i, *p.shape)
            p.copy_(1 + u / 10 if p.dim() == 1 and "weight" in name else u / (p[0].numel() if p.dim() > 1 else 10) ** 0.5)


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(20, 32), nn.Linear(32, 32), nn.Linear(32, 5)

    def forward(self, x):
        return self.fc3(F.gelu(self.fc2(torch.tanh(self.fc1(x)))))

    def loss(self, step, dtype):
        x = reals(step, 16, 20).to(dtype)
        return F.cross_entropy(self(x), labels(x, 5))

    def optimizer(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


class Cnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.conv2, self.bn2 = nn.Conv2d(6, 8, 3, stride=2, bias=False), nn.BatchNorm2d(8)
        self.fc = nn.Linear(8 * 2 * 2, 4)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
        return self.fc(torch.flatten(F.relu(self.bn2(self.conv2(x))), 1))

    def loss(self, step, dtype):
        x = reals(step, 8, 2, 10, 10).to(dtype)
        quarters = x.sum(1).reshape(8, 2, 5, 2, 5).sum((2, 4))
        return F.cross_entropy(self(x), labels(quarters, 4), label_smoothing=0.1)

    def optimizer(self):
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3, nesterov=True)


class Lstm(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.lstm, self.head = nn.Embedding(11, 12), nn.LSTM(12, 16, num_layers=2, batch_first=True), nn.Linear(16, 11)

    def forward(self, ids):
        return self.head(self.lstm(self.embed(ids))[0])

    def loss(self, step, dtype):
        ids = tokens(step, 11, 6, 13)
        return F.cross_entropy(self(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())

    def optimizer(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


class Block(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.ln1, self.qkv, self.proj = nn.LayerNorm(d), nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.ln2, self.up, self.down = nn.LayerNorm(d), nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = (y.reshape(b, t, 4, d // 4).transpose(1, 2) for y in self.qkv(self.ln1(x)).split(d, dim=2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(y.transpose(1, 2).reshape(b, t, d))
        return x + self.down(F.gelu(self.up(self.ln2(x)), approximate="tanh"))


class Gpt(nn.Module):
    def __init__(self):
        super().__init__()
        self.tok, self.pos = nn.Embedding(13, 24), nn.Embedding(12, 24)
        self.blocks = nn.ModuleList([Block(24), Block(24)])
        self.ln, self.head = nn.LayerNorm(24), nn.Linear(24, 13, bias=False)

    def forward(self, ids):
        x = self.tok(ids) + self.pos(torch.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.head(self.ln(x))

    def loss(self, step, dtype):
        ids = tokens(step, 13, 4, 13)
        return F.cross_entropy(self(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())

    def optimizer(self):
        return torch.optim.AdamW(self.parameters(), lr=5e-3, betas=(0.9, 0.95), weight_decay=0.1)


def curve(make, dtype):
    model = make().to(torch.float64)
    fill(model)
    model = model.to(dtype)
    optimizer = model.optimizer()
    losses = []
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = model.loss(step, dtype)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    curves = {m.__name__.lower(): {str(d)[6:]: curve(m, d) for d in (torch.float64, torch.float32)} for m in (Mlp, Cnn, Lstm, Gpt)}
    out = {"made by": f"PyTorch {torch.__version__}", "curves": curves}
    pathlib.Path(__file__).with_name("curves.json").write_text(json.dumps(out, indent=0) + "\n")
    for name, c in curves.items():
        off = max(abs(a - b) for a, b in zip(c["float64"], c["float32"]))
        print(f"{name}: {c['float64'][0]:.6f} to {c['float64'][-1]:.6f}, f32 off by {off:.2e}")


if __name__ == "__main__":
    main()
