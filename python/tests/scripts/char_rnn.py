"""A recurrent net that learns to spell numbers in words, letter by letter, and then writes some."""

import math
import time

import torch
from torch import nn
from torch import optim
from torch.nn.utils import clip_grad_norm_
from torch.nn.utils.rnn import pad_sequence

ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
TENS = "- - twenty thirty forty fifty sixty seventy eighty ninety".split()


def spell(n):
    if n < 20:
        return ONES[n]
    if n < 100:
        return TENS[n // 10] + ("-" + ONES[n % 10] if n % 10 else "")
    return ONES[n // 100] + " hundred" + (" and " + spell(n % 100) if n % 100 else "")


words = [spell(n) for n in range(1000)]
letters = ["<pad>", "<start>", "<end>"] + sorted(set("".join(words)))
index = {c: i for i, c in enumerate(letters)}
PAD, START, END = 0, 1, 2


def encode(word):
    return torch.tensor([START] + [index[c] for c in word] + [END], dtype=torch.long)


class CharRNN(nn.Module):
    def __init__(self, n_letters, hidden_size=96, n_layers=2, kind="GRU"):
        super().__init__()
        self.hidden_size = hidden_size
        self.n_layers = n_layers
        self.embedding = nn.Embedding(n_letters, 32, padding_idx=PAD)
        self.rnn = getattr(nn, kind)(32, hidden_size, n_layers, batch_first=True, dropout=0.1)
        self.decoder = nn.Linear(hidden_size, n_letters)
        self.init_weights()

    def init_weights(self):
        initrange = 0.1
        self.decoder.bias.data.zero_()
        self.decoder.weight.data.uniform_(-initrange, initrange)
        for name, p in self.rnn.named_parameters():
            if "weight_hh" in name:
                nn.init.orthogonal_(p)
            elif "bias" in name:
                nn.init.zeros_(p)

    def forward(self, x, hidden=None):
        out, hidden = self.rnn(self.embedding(x), hidden)
        return self.decoder(out), hidden

    def init_hidden(self, batch_size):
        weight = next(self.parameters())
        return weight.new_zeros(self.n_layers, batch_size, self.hidden_size)


def batches(words, batch_size):
    order = torch.randperm(len(words)).tolist()
    for start in range(0, len(order), batch_size):
        chosen = [encode(words[i]) for i in order[start : start + batch_size]]
        padded = pad_sequence(chosen, batch_first=True, padding_value=PAD)
        yield padded[:, :-1], padded[:, 1:]


def generate(model, temperature=0.5, limit=40):
    model.eval()
    hidden = model.init_hidden(1)
    letter = torch.full((1, 1), START, dtype=torch.int64)
    word = ""
    with torch.no_grad():
        for _ in range(limit):
            output, hidden = model(letter, hidden)
            weights = torch.softmax(output[0, -1] / temperature, dim=-1)
            letter = torch.multinomial(weights, 1).view(1, 1)
            if letter.item() == END:
                break
            word += letters[letter]
    return word


torch.manual_seed(3)
model = CharRNN(len(letters))
criterion = nn.CrossEntropyLoss(ignore_index=PAD)
optimizer = optim.Adam(model.parameters(), lr=5e-3, betas=(0.9, 0.99), eps=1e-8)
steps = 5 * math.ceil(len(words) / 50)
scheduler = optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=steps)
start = time.time()
for epoch in range(5):
    model.train()
    total, count = 0.0, 0
    for x, y in batches(words, 50):
        optimizer.zero_grad(set_to_none=True)
        output, _ = model(x)
        loss = criterion(output.reshape(-1, output.shape[-1]), y.reshape(-1))
        loss.backward()
        norm = clip_grad_norm_(model.parameters(), max_norm=1.0)
        assert torch.isfinite(norm)
        optimizer.step()
        scheduler.step()
        total += loss.detach() * x.shape[0]
        count += x.shape[0]
    print("epoch {:d} loss {:.3f} lr {:.2e}".format(epoch, (total / count).item(), scheduler.get_last_lr()[0]))
print(f"{time.time() - start:.1f} s")

written = [generate(model) for _ in range(20)]
print(", ".join(written))
right = sum(word in set(words) for word in written)
print(f"{right} of 20 are numbers")
assert right >= 12
