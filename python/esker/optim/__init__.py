"""Optimisers, which move parameters along their gradients, and schedules of learning rates."""

from . import lr_scheduler
from .optimizer import SGD, AdamW, Optimizer

__all__ = ["SGD", "AdamW", "Optimizer", "lr_scheduler"]
