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
        _esker._cuda_memory(index)
    except RuntimeError:
        return False
    return True


def _index(device):
    """The number of a GPU: of a device, a name such as ``cuda:1``, a number, or 0 for nothing."""
    if device is None:
        return 0
    if isinstance(device, int):
        return device
    device = _esker.device(device)
    if device.type != "cuda":
        raise ValueError(f"{device} is no GPU")
    return device.index or 0


def current_device():
    """The GPU that ``cuda`` means: the first."""
    return 0


def get_device_name(device=None):
    """The name of a GPU."""
    return _esker._cuda_describe(_index(device)).split(" (")[0]


def manual_seed(seed):
    """Seeds the generator, which is one for all devices."""
    _esker.manual_seed(seed)


manual_seed_all = manual_seed


def synchronize(device=None):
    """Waits for all that is queued on a GPU, and raises what its kernels found wrong."""
    _esker._cuda_synchronize(_index(device))


def memory_allocated(device=None):
    """Bytes of a GPU's memory that tensors are in."""
    return _esker._cuda_memory(_index(device))[0]


def max_memory_allocated(device=None):
    """The most bytes of a GPU's memory that tensors were ever in."""
    return _esker._cuda_memory(_index(device))[1]


def memory_reserved(device=None):
    """Bytes of a GPU's memory that Esker holds, in use or waiting for reuse."""
    live, _, cached = _esker._cuda_memory(_index(device))
    return live + cached


def empty_cache():
    """Gives memory that no tensor is in back to the driver, on the first GPU if there is one."""
    if is_available():
        _esker._cuda_trim(0)
