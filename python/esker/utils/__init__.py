"""What does not belong elsewhere: checkpoints, data, hooks."""

from . import checkpoint, data, hooks

__all__ = ["checkpoint", "data", "hooks"]
