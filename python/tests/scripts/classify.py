"""Classifies small drawn pictures (bars, crosses, rings) with a convolutional net."""

import argparse
import os
import random
import tempfile

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torch.utils.data import DataLoader, Dataset, random_split


class Pictures(Dataset):
    """Pictures uint8 ``[16, 16]`` and one of four labels."""

    def __init__(self, n, seed=0, transform=None):
        rng = np.random.default_rng(seed)
        self.labels = rng.integers(0, 4, n)
        self.pictures = np.stack([self.draw(rng, label) for label in self.labels])
        self.transform = transform

    @staticmethod
    def draw(rng, label):
        picture = rng.integers(0, 60, (16, 16))
        row, column, r = rng.integers(4, 12), rng.integers(4, 12), rng.integers(2, 5)
        y, x = np.mgrid[:16, :16]
        dy, dx = abs(y - row), abs(x - column)
        shapes = [(dy == 0) & (dx <= r), (dx == 0) & (dy <= r), (dx == dy) & (dx <= r), np.maximum(dx, dy) == r]
        picture[shapes[label]] = 255
        return picture.astype(np.uint8)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        picture = torch.from_numpy(self.pictures[index]).float().div(255).unsqueeze(0)
        if self.transform:
            picture = self.transform(picture)
        return picture, int(self.labels[index])


class Net(nn.Module):
    def __init__(self, num_classes=4):
        super(Net, self).__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, kernel_size=3, stride=1, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=2, stride=2),
        )
        self.dropout = nn.Dropout(p=0.25)
        self.fc1 = nn.Linear(32 * 4 * 4, 64)
        self.fc2 = nn.Linear(64, num_classes)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(m, nn.BatchNorm2d):
                nn.init.constant_(m.weight, 1)
                nn.init.constant_(m.bias, 0)

    def forward(self, x):
        x = self.features(x)
        x = x.view(x.size(0), -1)
        x = self.dropout(F.relu(self.fc1(x)))
        return F.log_softmax(self.fc2(x), dim=1)


def train(model, device, loader, optimizer, epoch):
    model.train()
    running_loss = 0.0
    for batch_idx, (data, target) in enumerate(loader):
        data, target = data.to(device), target.to(device)
        optimizer.zero_grad()
        output = model(data)
        loss = F.nll_loss(output, target)
        loss.backward()
        optimizer.step()
        running_loss += loss.item() * data.size(0)
    print(f"epoch {epoch}: loss {running_loss / len(loader.dataset):.4f}")


@torch.no_grad()
def test(model, device, loader):
    model.eval()
    test_loss, correct = 0, 0
    for data, target in loader:
        data, target = data.to(device), target.to(device)
        output = model(data)
        test_loss += F.nll_loss(output, target, reduction="sum").item()
        pred = output.argmax(dim=1, keepdim=True)
        correct += pred.eq(target.view_as(pred)).sum().item()
    print(f"test: loss {test_loss / len(loader.dataset):.4f}, {correct}/{len(loader.dataset)} right")
    return correct / len(loader.dataset)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--lr", type=float, default=0.05)
    args = parser.parse_args()

    random.seed(1)
    torch.manual_seed(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    normalize = lambda x: (x - 0.15) / 0.25
    train_set, test_set = random_split(Pictures(1200, transform=normalize), [1000, 200])
    train_loader = DataLoader(train_set, batch_size=50, shuffle=True, drop_last=True)
    test_loader = DataLoader(test_set, batch_size=100)

    model = Net().to(device)
    print(model)
    print(sum(p.numel() for p in model.parameters() if p.requires_grad), "parameters")
    optimizer = optim.SGD(model.parameters(), lr=args.lr, momentum=0.9, weight_decay=5e-4, nesterov=True)
    scheduler = optim.lr_scheduler.MultiStepLR(optimizer, milestones=[3, 5], gamma=0.2)
    best = 0
    path = os.path.join(tempfile.mkdtemp(), "best.pt")
    for epoch in range(1, args.epochs + 1):
        train(model, device, train_loader, optimizer, epoch)
        accuracy = test(model, device, test_loader)
        scheduler.step()
        if accuracy > best:
            best = accuracy
            state = {"epoch": epoch, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save(state, path)

    checkpoint = torch.load(path)
    fresh = Net().to(device)
    fresh.load_state_dict(checkpoint["model"])
    again = test(fresh, device, test_loader)
    assert again == best and best > 0.9, (again, best)


if __name__ == "__main__":
    main()
