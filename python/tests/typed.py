"""Checked by a type checker, not run."""

import esker
from esker import Tensor, nn, optim


def train(x: Tensor, y: Tensor) -> float:
    net = nn.Linear(3, 1)
    sgd = optim.SGD(net.parameters(), lr=0.1)
    loss = (net(x) - y).square().mean()
    sgd.zero_grad()
    loss.backward()
    sgd.step()
    return float(loss)


def shapes(x: Tensor) -> tuple[int, ...]:
    a: Tensor = x.reshape(2, 3) + x.reshape((2, 3)).sum(dim=1, keepdim=True)
    b: Tensor = esker.cat([a, a], dim=0)
    parts: tuple[Tensor, ...] = b.split(2)
    top = b.max(dim=0)
    assert parts and top is not None
    return b.permute(1, 0).shape


x: Tensor = esker.zeros(2, 3, dtype=esker.float64)
train(x, esker.ones(2, 1))
