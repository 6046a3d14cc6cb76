"""Layers, containers, initialisers: PyTorch's names, defaults and parameter layouts."""

from . import functional, init
from .modules import *  # noqa: F403
from .modules import Bilinear, Flatten, Identity, Linear, Module, Unflatten
from .parameter import Buffer, Parameter
from . import utils
