"""Whether ops are recorded on the tape: context managers that also decorate functions."""

import functools

from .._esker import _set_grad_enabled


class _Mode:
    """Sets the grad mode of this thread while it is entered."""

    _on = False

    def __init__(self):
        self._before = []

    def __enter__(self):
        self._before.append(_set_grad_enabled(self._on))

    def __exit__(self, *_):
        _set_grad_enabled(self._before.pop())

    def __call__(self, function):
        on = self._on

        @functools.wraps(function)
        def decorated(*args, **kwargs):
            before = _set_grad_enabled(on)
            try:
                return function(*args, **kwargs)
            finally:
                _set_grad_enabled(before)

        return decorated

    def __new__(cls, function=None):
        # `@no_grad` without parentheses decorates at once.
        mode = super().__new__(cls)
        if callable(function):
            mode.__init__()
            return mode(function)
        return mode


class no_grad(_Mode):
    """Within it, ops are not recorded."""

    def __init__(self, function=None):
        super().__init__()


class enable_grad(_Mode):
    """Within it, ops are recorded, also inside of ``no_grad``."""

    _on = True

    def __init__(self, function=None):
        super().__init__()


class inference_mode(no_grad):
    """As ``no_grad``."""

    def __new__(cls, mode=True):
        return no_grad.__new__(cls, mode if callable(mode) else None)

    def __init__(self, mode=True):
        super().__init__()
        self._on = not mode if isinstance(mode, bool) else False


class set_grad_enabled(_Mode):
    """Records ops or not from here on; as a context manager, until its end."""

    def __new__(cls, mode):
        return object.__new__(cls)

    def __init__(self, mode):
        super().__init__()
        self._on = bool(mode)
        self._before.append(_set_grad_enabled(self._on))

    def __enter__(self):
        pass
