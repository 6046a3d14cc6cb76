"""Handles of registered hooks."""

import itertools

from .._esker import RemovableHandle as TensorHandle

__all__ = ["RemovableHandle", "TensorHandle"]

_numbers = itertools.count()


class RemovableHandle:
    """A registered hook of a module; ``remove`` takes it away."""

    def __init__(self, hooks):
        self._hooks, self.id = hooks, next(_numbers)

    def remove(self):
        """Takes the hook away."""
        self._hooks.pop(self.id, None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()
