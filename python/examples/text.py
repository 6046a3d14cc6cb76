"""Text for models of characters."""

import pathlib

import esker
from esker.data import find_data

# The share of the text, at its end, that is held out.
HELD_OUT = 0.1


def own_source():
    """All Rust files of Esker's crates, in the order of their paths."""
    crates = pathlib.Path(__file__).resolve().parents[2] / "crates"
    return "".join(path.read_text(encoding="utf-8") for path in sorted(crates.rglob("*.rs")))


class Text:
    """A text as numbers of characters: number ``i`` stands for ``letters[i]``."""

    def __init__(self, source):
        text = None
        if source == "shakespeare":
            try:
                [path] = find_data("tinyshakespeare", "input.txt")
                text = pathlib.Path(path).read_text(encoding="utf-8")
            except esker.UnavailableError as why:
                print(f"{why}; the text is Esker's own source instead")
        text = text or own_source()
        self.letters = sorted(set(text))
        self.numbers = {letter: i for i, letter in enumerate(self.letters)}
        numbers = self.encode(text)
        split = int(len(numbers) * (1 - HELD_OUT))
        self.training, self.held = numbers[:split], numbers[split:]
        print(f"{split} characters to train on, {len(self.held)} held out, {len(self.letters)} different ones")

    def encode(self, text):
        return esker.tensor([self.numbers[letter] for letter in text], dtype=esker.int64)

    def decode(self, numbers):
        return "".join(self.letters[i] for i in numbers)


def windows(text, rows, length):
    """``rows`` windows of ``length`` characters from random places, and the same one character later."""
    starts = esker.randint(0, len(text) - length, (rows, 1))
    at = (starts + esker.arange(length)).flatten()
    return text[at].reshape(rows, length), text[at + 1].reshape(rows, length)


def windows_in_order(text, rows, length):
    """Windows that follow each other, at most ``rows`` of them."""
    rows = min(rows, (len(text) - 1) // length)
    return text[: rows * length].reshape(rows, length), text[1 : rows * length + 1].reshape(rows, length)


def draw(logits, temperature):
    """A character drawn from the logits behind the last one (``[1, length, letters]``)."""
    probabilities = (logits[0, -1] / temperature).softmax(-1)
    return esker.multinomial(probabilities, 1, True).item()
