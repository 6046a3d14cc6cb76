"""A generator and a critic on points of a ring: two nets, two optimisers, one game."""

import math

import torch
import torch.nn as nn

torch.manual_seed(0)
device = torch.device("cpu")
latent_dim, batch_size, steps = 4, 128, 800
real_label, fake_label = 1.0, 0.0


def weights_init(m):
    classname = m.__class__.__name__
    if classname.find("Linear") != -1:
        torch.nn.init.normal_(m.weight, 0.0, 0.1)
        torch.nn.init.zeros_(m.bias)
    elif classname.find("BatchNorm") != -1:
        m.weight.data.normal_(1.0, 0.02)
        m.bias.data.fill_(0)


def real_points(n):
    angle = 2 * math.pi * torch.rand(n, device=device)
    radius = 1 + 0.05 * torch.randn(n)
    return torch.stack((radius * torch.cos(angle), radius * torch.sin(angle)), dim=1)


class Generator(nn.Module):
    def __init__(self):
        super().__init__()

        def block(in_feat, out_feat, normalize=True):
            layers = [nn.Linear(in_feat, out_feat)]
            if normalize:
                layers.append(nn.BatchNorm1d(out_feat, momentum=0.1))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
            return layers

        self.model = nn.Sequential(
            *block(latent_dim, 64, normalize=False),
            *block(64, 64),
            nn.Linear(64, 2),
        )

    def forward(self, z):
        return self.model(z)


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(2, 64), nn.Linear(64, 64)])
        self.activation = nn.LeakyReLU(negative_slope=0.2)
        self.out = nn.Linear(64, 1)

    def forward(self, x):
        for layer in self.layers:
            x = self.activation(layer(x))
        return torch.sigmoid(self.out(x)).squeeze(1)


netG = Generator().to(device)
netG.apply(weights_init)
netD = Discriminator().to(device)
netD.apply(weights_init)
print(netG, netD, sep="\n")

criterion = nn.BCELoss()
fixed_noise = torch.randn(512, latent_dim, device=device)
optimizerD = torch.optim.Adam(netD.parameters(), lr=2e-3, betas=(0.5, 0.999))
optimizerG = torch.optim.Adam(netG.parameters(), lr=2e-3, betas=(0.5, 0.999))
G_losses, D_losses = [], []

for i in range(steps):
    # The critic: real points are real, generated ones are not.
    netD.zero_grad()
    real = real_points(batch_size)
    label = torch.full((batch_size,), real_label, dtype=torch.float, device=device)
    output = netD(real)
    errD_real = criterion(output, label)
    errD_real.backward()
    D_x = output.mean().item()

    noise = torch.randn(batch_size, latent_dim, device=device)
    fake = netG(noise)
    label.fill_(fake_label)
    output = netD(fake.detach())
    errD_fake = criterion(output, label)
    errD_fake.backward()
    D_G_z1 = output.mean().item()
    errD = errD_real + errD_fake
    optimizerD.step()

    # The generator: its points should pass for real.
    netG.zero_grad()
    label.fill_(real_label)
    output = netD(fake)
    errG = criterion(output, label)
    errG.backward()
    optimizerG.step()

    if i % 100 == 0:
        print("[%d/%d] Loss_D: %.4f Loss_G: %.4f D(x): %.4f D(G(z)): %.4f" % (i, steps, errD.item(), errG.item(), D_x, D_G_z1))
    G_losses.append(errG.item())
    D_losses.append(errD.item())

netG.eval()
with torch.no_grad():
    points = netG(fixed_noise).detach().cpu()
radius = points.norm(dim=1)
angle = torch.atan2(points[:, 1], points[:, 0])
quadrants = ((angle / (math.pi / 2)).floor().long() + 2).clamp(0, 3)
counts = torch.bincount(quadrants, minlength=4)
print("radius %.3f +- %.3f, points by quadrant %s" % (radius.mean(), radius.std(), counts.tolist()))
assert abs(radius.mean() - 1) < 0.25 and radius.std() < 0.4
assert all(math.isfinite(loss) for loss in G_losses + D_losses)
