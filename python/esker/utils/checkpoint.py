"""Checkpoints: memory for time. What lies between is computed again when backward comes to it."""

from .. import _esker


def checkpoint(function, *args, use_reentrant=None, preserve_rng_state=True, **kwargs):
    """Applies ``function`` and keeps nothing of what it computes but its results.

    It must do the same both times; random numbers are the same.
    """
    if not preserve_rng_state:
        raise ValueError("checkpoint: the random numbers are always the same both times")
    return _esker._checkpoint(function, args, kwargs)


def checkpoint_sequential(functions, segments, input, use_reentrant=None, **kwargs):
    """Applies functions one after the other in checkpointed segments."""
    functions = list(functions.children() if hasattr(functions, "children") else functions)
    size = -(-len(functions) // segments)

    def run(part):
        def forward(x):
            for f in part:
                x = f(x)
            return x

        return forward

    for start in range(0, len(functions), size):
        input = checkpoint(run(functions[start : start + size]), input)
    return input
