"""Sequences of different lengths as one batch."""

from ... import _esker

__all__ = ["pad_sequence", "unpad_sequence"]


def pad_sequence(sequences, batch_first=False, padding_value=0.0, padding_side="right"):
    """Sequences ``[length, *]`` as one tensor ``[longest, n, *]``, or ``[n, longest, *]``, filled up with ``padding_value``."""
    sequences = list(sequences)
    if not sequences:
        raise RuntimeError("pad_sequence: a sequence or more was needed, got none")
    if padding_side not in ("left", "right"):
        raise ValueError(f"pad_sequence: padding_side must be 'left' or 'right', got {padding_side!r}")
    rest = {tuple(s.shape[1:]) for s in sequences}
    if len(rest) > 1 or any(s.ndim == 0 for s in sequences):
        shapes = [tuple(s.shape) for s in sequences]
        raise RuntimeError(f"pad_sequence: the sequences may differ in their first size only, got {shapes}")
    longest = max(len(s) for s in sequences)

    def padded(s):
        missing = longest - len(s)
        sides = (0, missing) if padding_side == "right" else (missing, 0)
        return _esker.pad(s, (0, 0) * (s.ndim - 1) + sides, value=padding_value)

    return _esker.stack([padded(s) for s in sequences], 0 if batch_first else 1)


def unpad_sequence(padded_sequences, lengths, batch_first=False):
    """The sequences in a padded batch, as a list; ``lengths`` says how long each is."""
    rows = padded_sequences.unbind(0 if batch_first else 1)
    return [row[: int(length)] for row, length in zip(rows, lengths, strict=True)]
