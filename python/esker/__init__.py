"""Esker: a deep-learning framework that trains and ships.

Tensors are values: writing to a view does not change its base, and ``x[i] = v``, ``x += y`` and methods that end in an
underscore rebind ``x``.
"""

from . import _esker, _tensor, _functions
from ._esker import *  # noqa: F403  (every row of the op table, dtypes, errors)
from ._esker import __version__
from ._files import load, save
from ._functions import *  # noqa: F403
from ._tensor import Size
from .autograd.grad_mode import enable_grad, inference_mode, no_grad, set_grad_enabled

float = _esker.float32
double = _esker.float64
half = _esker.float16
int = _esker.int32
long = _esker.int64
short = _esker.int16

from . import autograd, cuda, data, nn, onnx, optim, utils  # noqa: E402

__all__ = [name for name in dir() if not name.startswith("_")]
