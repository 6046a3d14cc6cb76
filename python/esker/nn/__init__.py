"""Layers, containers, initialisers: PyTorch's names, defaults and parameter layouts."""

from . import functional, init, modules, utils
from .modules import *  # noqa: F403
from .parameter import Buffer, Parameter

__all__ = [*modules.__all__, "Buffer", "Parameter", "functional", "init", "modules", "utils"]
