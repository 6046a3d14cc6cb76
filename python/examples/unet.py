"""Trains a small U-Net to find circles, squares and triangles in noisy pictures, which are drawn as training goes. Prints the
intersection over union of each shape and one picture with what the net sees in it, and ships the net as ONNX.

The twin of examples/unet.rs: python unet.py
"""

import argparse
import time

import esker
from esker import nn, optim

import shapes
from common import Progress, ship

parser = argparse.ArgumentParser(description="Train a U-Net on drawn shapes and export it to ONNX.")
parser.add_argument("--steps", type=int, default=600, help="steps of training")
parser.add_argument("--batch", type=int, default=16, help="pictures per step")
parser.add_argument("--side", type=int, default=48, help="of a picture in pixels, a multiple of 4")
parser.add_argument("--lr", type=float, default=4e-3, help="the highest learning rate")
parser.add_argument("--seed", type=int, default=0, help="of the weights and the pictures")
parser.add_argument("--quick", action="store_true", help="a tiny net for 10 steps on pictures of 16 x 16: seconds")
parser.add_argument("--out", default="target/python/unet", help="where files are written")

# The pictures that judge the net come from a seed that no training uses.
TEST = 2**32 - 1


def two_convolutions(inputs, outputs):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1),
        nn.ReLU(),
    )


class UNet(nn.Module):
    """Two halvings on the way down, two doublings on the way up, each with the picture of its size from the way down."""

    def __init__(self, width):
        super().__init__()
        self.down1 = two_convolutions(1, width)
        self.down2 = two_convolutions(width, 2 * width)
        self.bottom = two_convolutions(2 * width, 4 * width)
        self.up2 = nn.ConvTranspose2d(4 * width, 2 * width, 2, stride=2)
        self.join2 = two_convolutions(4 * width, 2 * width)
        self.up1 = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.join1 = two_convolutions(2 * width, width)
        self.head = nn.Conv2d(width, len(shapes.NAMES), 1)
        self.pool = nn.MaxPool2d(2)

    def forward(self, picture):
        """Pictures ``[n, 1, side, side]`` to logits of the classes ``[n, classes, side, side]``."""
        full = self.down1(picture)
        half = self.down2(self.pool(full))
        x = self.bottom(self.pool(half))
        x = self.join2(esker.cat([half, self.up2(x)], 1))
        x = self.join1(esker.cat([full, self.up1(x)], 1))
        return self.head(x)


def judge(net, pictures, classes):
    """The class that the net sees in each pixel, and for each class the pixels that are of it and seen as it, as a share of
    those that are either.
    """
    with esker.no_grad():
        seen = net(pictures).argmax(1)
    pairs = [(seen == i, classes == i) for i in range(len(shapes.NAMES))]
    return seen, [(a & b).sum().item() / (a | b).sum().item() for a, b in pairs]


def train(args, net, steps, side, test):
    optimizer = optim.AdamW(net.parameters(), lr=args.lr)
    scheduler = optim.lr_scheduler.OneCycleLR(optimizer, args.lr, total_steps=steps)
    progress = Progress(steps)
    for step in range(1, steps + 1):
        pictures, classes = shapes.draw(args.batch, side, (args.seed, step))
        loss = nn.functional.cross_entropy(net(pictures), classes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        progress.step(loss.item())
        if step % max(steps // 5, 1) == 0:
            _, each = judge(net, *test)
            print(f"step {step}: mean intersection over union {sum(each) / len(each):.3f}", flush=True)


def main():
    args = parser.parse_args()
    esker.manual_seed(args.seed)
    side, width, steps = (16, 4, 10) if args.quick else (args.side, 16, args.steps)
    net = UNet(width)
    print(f"pictures of {side} x {side}, {sum(p.numel() for p in net.parameters())} parameters")
    start = time.time()
    test = shapes.draw(64, side, TEST)
    train(args, net, steps, side, test)
    seen, each = judge(net, *test)
    for name, iou in zip(shapes.NAMES, each):
        print(f"{name:>10}: intersection over union {iou:.3f}")
    print(f"after {time.time() - start:.0f} s; a picture, and what the net sees in it:\n")
    pictures, _ = test
    shapes.show(pictures[0, 0], seen[0])
    ship(args.out, "unet", net, {"picture": pictures[:16]}, "Logits of background, circle, square and triangle for each pixel.")


if __name__ == "__main__":
    main()
