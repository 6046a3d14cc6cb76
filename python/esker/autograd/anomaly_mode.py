"""The anomaly finder: stops at the first value that is not finite and says which op made it of what."""

from .._esker import _set_detect_anomaly


class detect_anomaly:
    """Within it, every op and every gradient of this thread is checked."""

    def __init__(self, check_nan=True):
        self._on = check_nan
        self._before = []

    def __enter__(self):
        self._before.append(_set_detect_anomaly(self._on))

    def __exit__(self, *_):
        _set_detect_anomaly(self._before.pop())


class set_detect_anomaly(detect_anomaly):
    """Switches the finder on or off from here on; as a context manager, until its end."""

    def __init__(self, mode, check_nan=True):
        super().__init__(mode and check_nan)
        self._before.append(_set_detect_anomaly(self._on))

    def __enter__(self):
        pass
