"""Trains a convolutional net on MNIST's 60,000 images, judges it on the 10,000 of the test set, and ships it as ONNX.
Without the data set (see ESKER_DATA) it takes the small digits that travel with Esker.

The twin of examples/mnist_cnn.rs: ESKER_DATA=... python mnist_cnn.py
"""

import argparse
import time

import esker
from esker import nn, optim
from esker.data import RandomAffine, digits, find_data, read_idx

from common import Progress, ship

parser = argparse.ArgumentParser(description="Train a convolutional net on MNIST and export it to ONNX.")
parser.add_argument("--epochs", type=int, default=5, help="how often each image is seen")
parser.add_argument("--batch", type=int, default=128, help="images per step")
parser.add_argument("--lr", type=float, default=4e-3, help="the highest learning rate")
parser.add_argument("--seed", type=int, default=0, help="of the weights, the order, dropout and augmentation")
parser.add_argument("--quick", action="store_true", help="a small net for three epochs on 512 embedded digits: seconds")
parser.add_argument("--out", default="target/python/mnist_cnn", help="where files are written")


def make_net(side, width):
    """Two stages of a convolution each, then a hidden layer."""
    features = 2 * width * (side // 4) ** 2
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(width, 2 * width, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.25),
        nn.Linear(features, 4 * width),
        nn.ReLU(),
        nn.Linear(4 * width, 10),
    )


def train(args, net, images, labels, test):
    # How far a digit may be turned, shifted, scaled and slanted and still be the same digit.
    augment = RandomAffine(degrees=8.0, shift=0.05 * images.shape[-1], scale=0.08, shear=0.08)
    epochs, batch = (3, 32) if args.quick else (args.epochs, args.batch)
    count = len(labels) // batch
    optimizer = optim.AdamW(net.parameters(), lr=args.lr)
    scheduler = optim.lr_scheduler.OneCycleLR(optimizer, args.lr, total_steps=count * epochs)
    progress = Progress(count * epochs)
    for epoch in range(epochs):
        net.train()
        for index in esker.randperm(len(labels))[: count * batch].split(batch):
            loss = nn.functional.cross_entropy(net(augment(images[index])), labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            progress.step(loss.item())
        print(f"epoch {epoch + 1}: test accuracy {100 * accuracy(net, *test):.2f} %", flush=True)


def accuracy(net, images, labels):
    """The share of images that are read correctly."""
    net.eval()
    with esker.no_grad():
        read = esker.cat([net(x).argmax(1) for x in images.split(1000)])
    return (read == labels).float().mean().item()


def data(quick):
    """Training and test set, each images (float32 ``[n, 1, side, side]``, 0 to 1) and labels."""
    files = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]
    if not quick:
        try:
            images, labels, test_images, test_labels = (read_idx(path) for path in find_data("mnist", *files))
            pixels = [x.float().unsqueeze(1) / 255 for x in (images, test_images)]
            return (pixels[0], labels.long()), (pixels[1], test_labels.long())
        except esker.UnavailableError as why:
            print(f"{why}; the embedded digits are taken instead")
    images, labels = digits()
    index = range(len(labels))
    rest, held = (esker.tensor([i for i in index if (i % 5 == 4) == last]) for last in (False, True))
    rest = rest[:512] if quick else rest
    return (images[rest], labels[rest]), (images[held], labels[held])


def main():
    args = parser.parse_args()
    esker.manual_seed(args.seed)
    (images, labels), test = data(args.quick)
    side = images.shape[-1]
    net = make_net(side, 8 if args.quick else 32)
    parameters = sum(p.numel() for p in net.parameters())
    print(f"{len(labels)} images of {side} x {side} to train on, {len(test[1])} to test, {parameters} parameters")
    start = time.time()
    train(args, net, images, labels, test)
    right = 100 * accuracy(net, *test)
    print(f"{right:.2f} % of the test images are read correctly, after {time.time() - start:.0f} s")
    ship(args.out, "mnist_cnn", net, {"image": test[0][:256]}, "Reads handwritten digits, 0 (black) to 1 (white).")


if __name__ == "__main__":
    main()
