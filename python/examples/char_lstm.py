"""A recurrent net (LSTM) that learns to write, character by character: Esker's own source text, or Tiny Shakespeare. Prints
the loss on held-out text and a sample, and ships the model as ONNX.

The twin of examples/char_lstm.rs: python char_lstm.py
"""

import argparse
import time

import esker
from esker import nn, optim
from esker.nn import functional as F

from common import Progress, ship
from text import Text, draw, windows, windows_in_order

parser = argparse.ArgumentParser(description="Train an LSTM on text, let it write, and export it to ONNX.")
parser.add_argument("--text", choices=["esker", "shakespeare"], default="esker", help="the text to learn")
parser.add_argument("--steps", type=int, default=500, help="steps of training")
parser.add_argument("--batch", type=int, default=32, help="windows of text per step")
parser.add_argument("--lr", type=float, default=4e-3, help="the highest learning rate")
parser.add_argument("--sample", type=int, default=400, help="characters to write after training")
parser.add_argument("--temperature", type=float, default=0.8, help="below 1: surer of itself, above: more adventurous")
parser.add_argument("--seed", type=int, default=0, help="of the weights, the windows, dropout and the sample")
parser.add_argument("--quick", action="store_true", help="a tiny model for 20 steps: seconds")
parser.add_argument("--out", default="target/python/char_lstm", help="where files are written")


class Writer(nn.Module):
    """Letters int64 ``[n, length]`` to logits ``[n, length, letters]``."""

    def __init__(self, letters, embedded, width, layers):
        super().__init__()
        self.letters = nn.Embedding(letters, embedded)
        self.lstm = nn.LSTM(embedded, width, num_layers=layers, batch_first=True)
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Linear(width, letters)

    def run(self, letters, state=None):
        """The logits, and the state behind the last letter."""
        y, state = self.lstm(self.letters(letters), state)
        return self.head(self.dropout(y)), state

    def forward(self, letters):
        return self.run(letters)[0]


def loss_of(writer, letters, next):
    """Mean cross-entropy of the next letter, in nats."""
    return F.cross_entropy(writer(letters).flatten(0, 1), next.flatten())


def judge(writer, text, length):
    """The loss on held-out text; the model is in training afterwards."""
    writer.eval()
    with esker.no_grad():
        held_loss = loss_of(writer, *windows_in_order(text.held, 64, length)).item()
    writer.train()
    return held_loss


def train(args, writer, text, length):
    steps, batch = (20, 8) if args.quick else (args.steps, args.batch)
    optimizer = optim.AdamW(writer.parameters(), lr=args.lr)
    scheduler = optim.lr_scheduler.OneCycleLR(optimizer, args.lr, total_steps=steps, pct_start=0.1)
    progress = Progress(steps)
    writer.train()
    for step in range(1, steps + 1):
        loss = loss_of(writer, *windows(text.training, batch, length))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(writer.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        progress.step(loss.item())
        if step % max(steps // 5, 1) == 0:
            print(f"step {step}: held-out loss {judge(writer, text, length):.4f}", flush=True)


def write(writer, text, count, temperature):
    """``count`` characters, one by one, each from the state behind those before it."""
    written, state = text.encode("\n").tolist(), None
    for _ in range(count):
        logits, state = writer.run(esker.tensor([written[-1:]]), state)
        written.append(draw(logits, temperature))
    return text.decode(written[1:])


def main():
    args = parser.parse_args()
    esker.manual_seed(args.seed)
    text = Text(args.text)
    length, sizes = (16, (16, 32, 1)) if args.quick else (64, (64, 256, 2))
    writer = Writer(len(text.letters), *sizes)
    print(f"{sum(p.numel() for p in writer.parameters())} parameters")
    start = time.time()
    train(args, writer, text, length)
    print(f"held-out loss {judge(writer, text, length):.4f} nats a character, after {time.time() - start:.0f} s")
    writer.eval()
    with esker.no_grad():
        print(f"---\n{write(writer, text, 40 if args.quick else args.sample, args.temperature)}\n---")
    held, _ = windows_in_order(text.held, 8, length)
    doc = "Logits of the next character after each of a window's characters."
    ship(args.out, "char_lstm", writer, {"letters": held}, doc)


if __name__ == "__main__":
    main()
