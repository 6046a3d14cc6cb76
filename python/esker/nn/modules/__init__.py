"""The layers."""

from .activation import *  # noqa: F403
from .container import *  # noqa: F403
from .linear import Bilinear, Identity, Linear
from .module import Module
from .shape import Flatten, Unflatten
