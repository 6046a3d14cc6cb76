"""Tensors, and what holds them, in safetensors files: numbers and names, nothing that could run."""

import json as _json
import os as _os

from . import _esker
from ._esker import Tensor

__all__ = ["load", "save"]

_STRUCTURE = "__structure__"
"""The entry with what holds the tensors, JSON in UTF-8; a plain dict of tensors by name has none."""


def save(obj, f):
    """Writes tensors, and lists, tuples and dicts of tensors, numbers, texts and None, to a safetensors file.

    ``obj`` may be a module, of which its state dict is written; ``f`` is a path or a file open for writing bytes. A path
    is written as a whole or not at all.
    """
    if hasattr(obj, "state_dict"):
        obj = obj.state_dict()
    if isinstance(obj, dict) and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in obj.items()):
        entries = dict(obj)
    else:
        entries = {}
        structure = _json.dumps(_described(obj, "", entries, ()))
        entries[_STRUCTURE] = _esker.tensor(list(structure.encode()), dtype=_esker.uint8)
    if isinstance(f, (str, _os.PathLike)):
        _esker._save_state(entries, f)
    else:
        f.write(_esker._state_bytes(entries))


def load(f, map_location=None, weights_only=True):
    """Reads what :func:`save` wrote, or any safetensors file, from a path or a file open for reading bytes.

    Nothing in a file can run, so ``weights_only`` has no meaning here.
    """
    entries = _esker._load_state(f) if isinstance(f, (str, _os.PathLike)) else _esker._parse_state(f.read())
    if map_location is not None and not callable(map_location) and not isinstance(map_location, dict):
        entries = {name: tensor.to(map_location) for name, tensor in entries.items()}
    if _STRUCTURE not in entries:
        return entries
    text = bytes(entries.pop(_STRUCTURE).tolist())
    try:
        return _restored(_json.loads(text), entries)
    except (KeyError, TypeError, ValueError, IndexError) as e:
        raise ValueError(f"load: the file's {_STRUCTURE} does not fit its tensors: {e!r}") from e


def _described(obj, path, entries, above):
    """What JSON can say of an object; its tensors go to ``entries`` under their paths."""
    if obj is None or type(obj) in (bool, int, float, str):
        return obj
    if isinstance(obj, Tensor):
        name = path or "tensor"
        while name in entries:
            name += "'"
        entries[name] = obj
        return {"tensor": name}
    if id(obj) in above:
        raise ValueError(f"save: {path} holds itself")

    def inner(value, key):
        return _described(value, f"{path}.{key}" if path else str(key), entries, (*above, id(obj)))

    if isinstance(obj, dict):
        return {"dict": [[inner(k, f"{k}#key"), inner(v, k)] for k, v in obj.items()]}
    if type(obj) in (list, tuple):
        return {type(obj).__name__: [inner(v, i) for i, v in enumerate(obj)]}
    if hasattr(obj, "item") and getattr(obj, "shape", None) == ():
        return inner(obj.item(), "")  # A number of NumPy's.
    kinds = "tensors, numbers, texts, None, and lists, tuples and dicts of these"
    raise TypeError(f"save takes {kinds}; {path or 'the object'} is {type(obj).__name__}")


def _restored(description, entries):
    if not isinstance(description, dict):
        return description
    ((kind, value),) = description.items()
    if kind == "tensor":
        return entries[value]
    if kind == "dict":
        return {_restored(k, entries): _restored(v, entries) for k, v in value}
    return {"list": list, "tuple": tuple}[kind](_restored(v, entries) for v in value)
