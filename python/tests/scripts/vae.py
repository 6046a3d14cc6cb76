"""A variational autoencoder on waves, with an own autograd function, then a regression on its code."""

import numpy as np
import torch
from torch import nn, optim
from torch.autograd import Function, Variable
from torch.nn import functional as F
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(7)
np.random.seed(7)
torch.set_default_dtype(torch.float32)
N, LENGTH, CODE = 2000, 32, 3


class Bounded(Function):
    """Clamps values, and lets gradients pass where they lead back inside."""

    @staticmethod
    def forward(ctx, x, low, high):
        ctx.save_for_backward(x)
        ctx.low, ctx.high = low, high
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx, grad_output):
        (x,) = ctx.saved_tensors
        stuck = ((x < ctx.low) & (grad_output > 0)) | ((x > ctx.high) & (grad_output < 0))
        return grad_output.masked_fill(stuck, 0.0), None, None


class VAE(nn.Module):
    def __init__(self):
        super(VAE, self).__init__()
        self.encoder = nn.Sequential(
            nn.Unflatten(1, (1, LENGTH)),
            nn.Conv1d(1, 8, 5, stride=2, padding=2), nn.ELU(),
            nn.Conv1d(8, 16, 5, stride=2, padding=2), nn.ELU(),
            nn.Flatten(),
        )
        self.mu = nn.Linear(16 * LENGTH // 4, CODE)
        self.logvar = nn.Linear(16 * LENGTH // 4, CODE)
        self.decoder = nn.Sequential(nn.Linear(CODE, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, LENGTH))

    def encode(self, x):
        h = self.encoder(x)
        return self.mu(h), Bounded.apply(self.logvar(h), -8.0, 4.0)

    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5 * logvar)
        eps = torch.randn_like(std)
        return mu + eps * std

    def forward(self, x):
        mu, logvar = self.encode(x.view(-1, LENGTH))
        z = self.reparameterize(mu, logvar)
        return self.decoder(z), mu, logvar


def loss_function(recon_x, x, mu, logvar, beta):
    MSE = F.mse_loss(recon_x, x, reduction="sum")
    KLD = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return (MSE + beta * KLD) / x.shape[0]


phase = np.random.uniform(0, 2 * np.pi, size=(N, 1))
level = np.random.uniform(0.5, 1.5, size=(N, 1))
waves = level * np.sin(np.linspace(0, 2 * np.pi, LENGTH)[None, :] + phase) + 0.05 * np.random.randn(N, LENGTH)
X = torch.from_numpy(waves.astype(np.float32))
Y = torch.as_tensor(level, dtype=torch.float32)
loader = DataLoader(TensorDataset(X, Y), batch_size=100, shuffle=True)

model = VAE()
optimizer = optim.Adam([
    {"params": model.decoder.parameters(), "lr": 2e-3},
    {"params": [p for n, p in model.named_parameters() if not n.startswith("decoder")]},
], lr=3e-3)
scheduler = ReduceLROnPlateau(optimizer, mode="min", factor=0.5, patience=2)
history = []
for epoch in range(12):
    model.train()
    train_loss = 0.0
    for data, _ in loader:
        data = Variable(data)
        optimizer.zero_grad()
        recon, mu, logvar = model(data)
        loss = loss_function(recon, data, mu, logvar, beta=0.02)
        loss.backward()
        nn.utils.clip_grad_value_(model.parameters(), 5.0)
        optimizer.step()
        train_loss += loss.data.item()
    history.append(train_loss / len(loader))
    scheduler.step(history[-1])
    print("====> Epoch: {} Average loss: {:.4f} lr {:.1e}".format(epoch, history[-1], optimizer.param_groups[0]["lr"]))
assert history[-1] < 0.1 * history[0], history

# The code of a wave holds its level: a ridge regression on quadratic features of the code finds it.
model.eval()
for p in model.parameters():
    p.requires_grad_(False)
code, _ = model.encode(X)
pairs = torch.einsum("ni,nj->nij", code, code).flatten(1)
features = torch.cat([torch.ones(N, 1), code, pairs], 1).double()
train, held = slice(0, N // 2), slice(N // 2, None)
w = torch.zeros(features.shape[1], 1, dtype=torch.float64, requires_grad=True)
ridge = optim.Rprop([w], lr=0.01)
for step in range(300):
    ridge.zero_grad()
    error = (features[train] @ w - Y[train].double()).pow(2).mean() + 1e-6 * w.norm() ** 2
    error.backward()
    ridge.step()
with torch.no_grad():
    guess = features[held] @ w
residual = ((guess - Y[held]) ** 2).mean() / Y[held].var()
print(f"explained {100 * (1 - residual.item()):.1f} % of the level's variance")
np.testing.assert_array_less(residual.numpy(), 0.5)
