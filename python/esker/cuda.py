"""The GPUs that Esker can use, under PyTorch's names."""

from . import _esker


def device_count():
    """How many GPUs there are for Esker."""
    count = 0
    while _there(count):
        count += 1
    return count


def is_available():
    """Whether tensors can live on a GPU."""
    return _there(0)


def _there(index):
    try:
        _esker.zeros(0, device=f"cuda:{index}")
    except RuntimeError:
        return False
    return True


def manual_seed(seed):
    """Seeds the generator, which is one for all devices."""
    _esker.manual_seed(seed)


manual_seed_all = manual_seed


def empty_cache():
    """Nothing: there is no cache on a GPU that is not there."""


def synchronize(device=None):
    """Nothing: what runs on the CPU is done when its call returns."""
