"""Parameters: tensors that modules own and optimisers move."""

from .._esker import Tensor


class Parameter(Tensor):
    """A tensor that a module owns and training changes. Everyone who holds it sees its present value."""

    def __new__(cls, data=None, requires_grad=True):
        from .. import empty

        self = Tensor.__new__(cls, empty(0) if data is None else data)
        self._become_param(requires_grad)
        return self

    def __repr__(self):
        return f"Parameter containing:\n{super().__repr__()}"

    def __deepcopy__(self, memo):
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.detach().clone(), self.requires_grad)
        return memo[id(self)]

    def __reduce_ex__(self, protocol):
        _, (data, requires_grad) = super().__reduce_ex__(protocol)
        return _rebuild, (data, requires_grad)


def _rebuild(data, requires_grad):
    from .._tensor import _rebuild as tensor

    return Parameter(tensor(data, False), requires_grad)


class Buffer(Tensor):
    """A tensor that a module owns and training does not change by gradient: running means, tables."""

    def __new__(cls, data=None, *, persistent=True):
        from .. import empty

        self = Tensor.__new__(cls, empty(0) if data is None else data)
        self.persistent = persistent
        return self
