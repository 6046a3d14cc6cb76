"""Trains a perceptron on the table of the 1994 census (UCI Adult): who earns more than 50,000? Categories are embedded,
numbers standardised. Prints accuracy and the area under the ROC curve on the test set, and ships the net as ONNX. Without the
data set (see ESKER_DATA) it takes a made-up table of the same columns.

The twin of examples/adult_mlp.rs: ESKER_DATA=... python adult_mlp.py
"""

import argparse
import time

import esker
from esker import nn, optim
from esker.nn import functional as F

import census
from common import Progress, ship

parser = argparse.ArgumentParser(description="Train a perceptron on the census table and export it to ONNX.")
parser.add_argument("--epochs", type=int, default=10, help="how often each person is seen")
parser.add_argument("--batch", type=int, default=256, help="persons per step")
parser.add_argument("--lr", type=float, default=4e-3, help="the highest learning rate")
parser.add_argument("--seed", type=int, default=0, help="of the weights, the order of the persons and dropout")
parser.add_argument("--quick", action="store_true", help="one epoch on a small made-up table: seconds")
parser.add_argument("--out", default="target/python/adult_mlp", help="where files are written")


class Net(nn.Module):
    """Numbers and embedded categories side by side, two hidden layers, one logit. ``codes`` are the numbers of codes of the
    categories; mean and deviation of ``numbers``, the training table, are what the net subtracts and divides by.
    """

    def __init__(self, codes, numbers):
        super().__init__()
        sizes = [min((c + 1) // 2, 16) for c in codes]
        self.embeddings = nn.ModuleList([nn.Embedding(c, size) for c, size in zip(codes, sizes)])
        self.fc1 = nn.Linear(numbers.shape[1] + sum(sizes), 128)
        self.fc2 = nn.Linear(128, 64)
        self.out = nn.Linear(64, 1)
        self.dropout = nn.Dropout(0.2)
        self.register_buffer("mean", numbers.mean(0))
        self.register_buffer("std", numbers.std(0, correction=0).clamp(min=1e-6))

    def forward(self, numbers, codes):
        """Numbers float32 ``[n, numbers]`` and codes int64 ``[n, categories]`` to logits ``[n]``."""
        parts = [(numbers - self.mean) / self.std]
        parts += [embedding(codes[:, i]) for i, embedding in enumerate(self.embeddings)]
        x = self.dropout(F.relu(self.fc1(esker.cat(parts, 1))))
        x = self.dropout(F.relu(self.fc2(x)))
        return self.out(x).squeeze(1)


def train(args, net, training, test):
    numbers, codes, rich = training
    epochs, count = (1 if args.quick else args.epochs), len(rich) // args.batch
    optimizer = optim.AdamW(net.parameters(), lr=args.lr)
    scheduler = optim.lr_scheduler.OneCycleLR(optimizer, args.lr, total_steps=count * epochs)
    progress = Progress(count * epochs)
    for epoch in range(epochs):
        net.train()
        for index in esker.randperm(len(rich))[: count * args.batch].split(args.batch):
            loss = F.binary_cross_entropy_with_logits(net(numbers[index], codes[index]), rich[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            progress.step(loss.item())
        right, auc = judge(net, *test)
        print(f"epoch {epoch + 1:>2}: test accuracy {100 * right:.2f} %, AUC {auc:.4f}", flush=True)


def judge(net, numbers, codes, rich):
    """The share of persons that are judged rightly, and the area under the ROC curve: the chance that a rich person scores
    above another; equal scores count half.
    """
    net.eval()
    with esker.no_grad():
        scores = net(numbers, codes).tolist()
    rich = [r > 0.5 for r in rich.tolist()]
    right = sum((score > 0) == r for score, r in zip(scores, rich)) / len(rich)
    groups = {}
    for score, r in zip(scores, rich):
        counts = groups.setdefault(score, [0, 0])
        counts[r] += 1
    below = pairs = 0
    for _, (negatives, positives) in sorted(groups.items()):
        pairs += positives * (below + negatives / 2)
        below += negatives
    return right, pairs / (below * (len(rich) - below))


def main():
    args = parser.parse_args()
    esker.manual_seed(args.seed)
    training, test, codes = census.read(args.quick)
    net = Net(codes, training[0])
    parameters = sum(p.numel() for p in net.parameters())
    print(f"{len(training[2])} persons to train on, {len(test[2])} to test, {parameters} parameters")
    start = time.time()
    train(args, net, training, test)
    right, auc = judge(net, *test)
    print(f"test accuracy {100 * right:.2f} %, AUC {auc:.4f}, after {time.time() - start:.0f} s")
    inputs = {"numbers": test[0][:256], "codes": test[1][:256]}
    ship(args.out, "adult_mlp", net, inputs, "The logit of earning more than 50,000.")


if __name__ == "__main__":
    main()
