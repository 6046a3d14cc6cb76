"""A small GPT that learns to write, character by character: Esker's own source text, or Tiny Shakespeare. Prints the loss on
held-out text and a sample, written with a cache of keys and values, and ships the model as ONNX.

The twin of examples/char_gpt.rs: python char_gpt.py
"""

import argparse
import time

import esker
from esker import nn, optim
from esker.nn import functional as F

from common import Progress, ship
from text import Text, draw, windows, windows_in_order

parser = argparse.ArgumentParser(description="Train a small GPT on text, let it write, and export it to ONNX.")
parser.add_argument("--text", choices=["esker", "shakespeare"], default="esker", help="the text to learn")
parser.add_argument("--steps", type=int, default=500, help="steps of training")
parser.add_argument("--batch", type=int, default=32, help="windows of text per step")
parser.add_argument("--lr", type=float, default=2e-3, help="the highest learning rate")
parser.add_argument("--sample", type=int, default=400, help="characters to write after training")
parser.add_argument("--temperature", type=float, default=0.8, help="below 1: surer of itself, above: more adventurous")
parser.add_argument("--seed", type=int, default=0, help="of the weights, the windows, dropout and the sample")
parser.add_argument("--quick", action="store_true", help="a tiny model for 20 steps: seconds")
parser.add_argument("--out", default="target/python/char_gpt", help="where files are written")


class Attention(nn.Module):
    """Every character looks at itself and those before it; those of earlier calls are in the cache."""

    def __init__(self, width, heads):
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.heads = heads

    def forward(self, x, cache=None):
        _, length, width = x.shape
        qkv = self.qkv(x).reshape(-1, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        causal = True
        if cache is not None:
            if cache:
                k, v = esker.cat([cache["k"], k], 2), esker.cat([cache["v"], v], 2)
                causal = length > 1  # A single character is the last: it may look at all.
            cache["k"], cache["v"] = k, v
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        return self.proj(mixed.transpose(1, 2).reshape(-1, length, width))


class Block(nn.Module):
    """Attention and a wide layer, each on what a norm makes of its input, and added to it."""

    def __init__(self, width, heads, dropout):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x, cache=None):
        x = x + self.dropout(self.attention(self.norm1(x), cache))
        return x + self.dropout(self.down(F.gelu(self.up(self.norm2(x)))))


class Gpt(nn.Module):
    """Letters int64 ``[n, length]`` to logits ``[n, length, letters]``. With ``caches``, one a block, the letters follow those
    of earlier calls, which are ``past``.
    """

    def __init__(self, letters, context, width, heads, layers, dropout):
        super().__init__()
        self.token = nn.Embedding(letters, width)
        self.position = nn.Embedding(context, width)
        for table in (self.token, self.position):
            nn.init.normal_(table.weight, 0.0, 0.02)
        self.blocks = nn.ModuleList([Block(width, heads, dropout) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, letters, bias=False)
        self.context = context

    def forward(self, letters, past=0, caches=None):
        x = self.token(letters) + self.position(esker.arange(past, past + letters.shape[1]))
        for i, block in enumerate(self.blocks):
            x = block(x, None if caches is None else caches[i])
        return self.head(self.norm(x))


def loss_of(gpt, letters, next):
    """Mean cross-entropy of the next letter, in nats."""
    return F.cross_entropy(gpt(letters).flatten(0, 1), next.flatten())


def judge(gpt, text):
    """The loss on held-out text; the model is in training afterwards."""
    gpt.eval()
    with esker.no_grad():
        held_loss = loss_of(gpt, *windows_in_order(text.held, 64, gpt.context)).item()
    gpt.train()
    return held_loss


def train(args, gpt, text):
    steps, batch = (20, 8) if args.quick else (args.steps, args.batch)
    optimizer = optim.AdamW(gpt.parameters(), lr=args.lr)
    scheduler = optim.lr_scheduler.OneCycleLR(optimizer, args.lr, total_steps=steps, pct_start=0.1)
    progress = Progress(steps)
    gpt.train()
    for step in range(1, steps + 1):
        loss = loss_of(gpt, *windows(text.training, batch, gpt.context))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(gpt.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        progress.step(loss.item())
        if step % max(steps // 5, 1) == 0:
            print(f"step {step}: held-out loss {judge(gpt, text):.4f}", flush=True)


def write(gpt, text, count, temperature):
    """``count`` characters, one by one; each looks at the cache of those before it. A full context is halved."""
    written, past = text.encode("\n").tolist(), gpt.context
    for _ in range(count):
        if past == gpt.context:
            caches, past = [{} for _ in gpt.blocks], 0
        # The first time and after halving, several letters are read at once.
        unread = min(gpt.context // 2, len(written)) if past == 0 else 1
        logits = gpt(esker.tensor([written[-unread:]]), past, caches)
        past += unread
        written.append(draw(logits, temperature))
    return text.decode(written[1:])


def main():
    args = parser.parse_args()
    esker.manual_seed(args.seed)
    text = Text(args.text)
    sizes = dict(context=16, width=32, heads=2, layers=1, dropout=0.0)
    if not args.quick:
        sizes = dict(context=64, width=128, heads=4, layers=3, dropout=0.1)
    gpt = Gpt(len(text.letters), **sizes)
    print(f"{sum(p.numel() for p in gpt.parameters())} parameters")
    start = time.time()
    train(args, gpt, text)
    print(f"held-out loss {judge(gpt, text):.4f} nats a character, after {time.time() - start:.0f} s")
    gpt.eval()
    with esker.no_grad():
        print(f"---\n{write(gpt, text, 40 if args.quick else args.sample, args.temperature)}\n---")
    held, _ = windows_in_order(text.held, 8, gpt.context)
    doc = "Logits of the next character after each of a window's characters."
    ship(args.out, "char_gpt", gpt, {"letters": held}, doc)


if __name__ == "__main__":
    main()
