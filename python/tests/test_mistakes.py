"""Forty typical mistakes, and what Esker says. `ESKER_WRITE_GOLDEN=1 pytest test_mistakes.py` writes the answers anew."""

import os
import pathlib

import numpy as np

import esker
from esker import nn, optim

GOLDEN = pathlib.Path(__file__).with_name("mistakes.txt")

MISTAKES = """
esker.ones(2, 3) @ esker.ones(4, 5)
esker.ones(2, 3) + esker.ones(4, 3)
esker.ones(2, 3).sum(dim=2)
esker.ones(2, 3).sum(dim="rows")
esker.ones(2, 3).sum(axes=1)
esker.ones(2, 3).sum(0, keepdim=1)
esker.ones(2, 3).reshape(4, 2)
esker.ones(2, 3).reshape(-1, -1)
esker.ones(2, 3).view("2x3")
esker.ones(2, 3).permute(0, 0)
esker.ones(2, 3).transpose(0)
esker.ones(2, 3)[2]
esker.ones(2, 3)[0, 0, 0]
esker.ones(2, 3)["a"]
esker.cat([esker.ones(2, 3), esker.ones(2, 4)])
esker.cat(esker.ones(2, 3))
esker.cat([1, 2])
esker.stack([esker.ones(2), esker.ones(3)])
esker.tensor([[1, 2], [3]])
esker.tensor([[1, 2], 3])
esker.tensor(["a", "b"])
esker.tensor(np.array([{}, None], dtype=object))
esker.tensor([1, 2], dtype="float32")
esker.zeros(2, device="gpu")
esker.zeros(-1)
esker.tensor([1, 2], requires_grad=True)
esker.tensor([1, 2]).add_(0.5)
esker.tensor([1], dtype=esker.uint8) + 300
esker.tensor([1, 2]) // 0
bool(esker.ones(2))
esker.ones(2).item()
len(esker.tensor(1.0))
esker.ones(2, requires_grad=True).backward()
esker.ones(()).backward()
esker.ones(2, requires_grad=True).numpy()
esker.ones(2, requires_grad=True).add_(1)
esker.ones(2, 2) + "a"
esker.exp(1.0, 2.0)
esker.from_numpy([1, 2])
nn.Linear(3, 2)(esker.ones(1, 4))
nn.Linear(3, 2).load_state_dict({"weight": esker.ones(2, 3)})
nn.Linear(3, 2).load_state_dict({"weight": esker.ones(3, 3), "bias": esker.ones(2)})
optim.SGD([], lr=0.1)
optim.SGD([esker.ones(2, requires_grad=True) * 2], lr=0.1)
optim.Adam(nn.Linear(1, 1).parameters(), lr=-1)
nn.functional.cross_entropy(esker.ones(2, 3), esker.tensor([0, 3]))
nn.functional.cross_entropy(esker.ones(2, 3), esker.tensor([0, 1, 2]))
esker.load("/nowhere/model.safetensors")
esker.ones(2, dtype=esker.bfloat16).numpy()
esker.einsum("ij,jk", esker.ones(2, 3), esker.ones(2, 3))
""".strip().splitlines()


def said(code):
    try:
        eval(code)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def test_every_mistake_is_explained():
    assert len(MISTAKES) >= 40
    text = "\n".join(f">>> {code}\n{said(code)}" for code in MISTAKES) + "\n"
    if os.environ.get("ESKER_WRITE_GOLDEN"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()
    assert "nothing" not in text.split("\n") and "inner contradiction" not in text
