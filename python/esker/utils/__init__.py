"""What does not belong elsewhere: checkpoints, data, hooks."""

from . import hooks

__all__ = ["hooks"]
