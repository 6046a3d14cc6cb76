"""The base of all layers and models."""

import collections
import functools

from ..._esker import Tensor
from ..parameter import Buffer, Parameter
from ...utils.hooks import RemovableHandle

_Incompatible = collections.namedtuple("IncompatibleKeys", ["missing_keys", "unexpected_keys"])
_Incompatible.__repr__ = lambda self: (
    "<All keys matched successfully>" if not any(self) else tuple.__repr__(self)
)


class Module:
    """A part of a model: parameters, buffers and other modules, which are found by assigning them as attributes.

    Subclasses call ``super().__init__()`` first and define ``forward``.
    """

    training: bool

    def __init__(self):
        put = functools.partial(object.__setattr__, self)
        put("training", True)
        put("_parameters", {})
        put("_buffers", {})
        put("_transient", set())
        put("_modules", {})
        put("_forward_pre_hooks", {})
        put("_forward_hooks", {})
        put("_backward_hooks", {})
        put("_state_dict_hooks", {})

    def forward(self, *args, **kwargs):
        raise NotImplementedError(f"{type(self).__name__} has no forward; define it")

    # ---- attributes

    def __setattr__(self, name, value):
        parts = self.__dict__.get("_parameters")
        if isinstance(value, (Parameter, Module)) and parts is None:
            raise AttributeError(f"{type(self).__name__}: call super().__init__() before assigning {name}")
        if parts is None:
            object.__setattr__(self, name, value)
        elif isinstance(value, Parameter):
            self.__dict__.pop(name, None)
            self._buffers.pop(name, None), self._modules.pop(name, None)
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            self.__dict__.pop(name, None)
            self._parameters.pop(name, None), self._buffers.pop(name, None)
            self._modules[name] = value
        elif name in self._parameters:
            if value is not None:
                raise TypeError(
                    f"{type(self).__name__}.{name} is a parameter; assign a Parameter or None, not {type(value).__name__}"
                )
            self._parameters[name] = None
        elif isinstance(value, Buffer):
            self.register_buffer(name, value, value.persistent)
        elif name in self._buffers:
            if value is not None and not isinstance(value, Tensor):
                raise TypeError(
                    f"{type(self).__name__}.{name} is a buffer; assign a tensor or None, not {type(value).__name__}"
                )
            self._buffers[name] = value
        elif name in self._modules:
            if value is not None:
                raise TypeError(
                    f"{type(self).__name__}.{name} is a module; assign a Module or None, not {type(value).__name__}"
                )
            self._modules[name] = None
        else:
            object.__setattr__(self, name, value)

    def __getattr__(self, name):
        for parts in ("_parameters", "_buffers", "_modules"):
            found = self.__dict__.get(parts)
            if found is not None and name in found:
                return found[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name}")

    def __delattr__(self, name):
        for parts in (self._parameters, self._buffers, self._modules):
            if name in parts:
                del parts[name]
                return
        object.__delattr__(self, name)

    def __dir__(self):
        return sorted({*object.__dir__(self), *self._parameters, *self._buffers, *self._modules})

    def register_parameter(self, name, param):
        """Adds a parameter, or None in its place."""
        _check_name(self, name, self._parameters)
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(f"{name} must be a Parameter or None, got {type(param).__name__}")
        self._parameters[name] = param

    def register_buffer(self, name, tensor, persistent=True):
        """Adds a tensor that is part of the state but no parameter; a transient one is not saved."""
        _check_name(self, name, self._buffers)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(f"{name} must be a tensor or None, got {type(tensor).__name__}")
        self._buffers[name] = tensor
        (self._transient.discard if persistent else self._transient.add)(name)

    def register_module(self, name, module):
        """Adds a child."""
        self.add_module(name, module)

    def add_module(self, name, module):
        """Adds a child."""
        _check_name(self, name, self._modules)
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{name} must be a Module or None, got {type(module).__name__}")
        self._modules[name] = module

    def get_submodule(self, target):
        """The module at a path such as "encoder.0"."""
        module = self
        for name in target.split(".") if target else []:
            module = module._modules[name]
        return module

    def get_parameter(self, target):
        """The parameter at a path such as "encoder.0.weight"."""
        path, _, name = target.rpartition(".")
        return self.get_submodule(path)._parameters[name]

    def get_buffer(self, target):
        """The buffer at a path."""
        path, _, name = target.rpartition(".")
        return self.get_submodule(path)._buffers[name]

    # ---- calling

    def __call__(self, *args, **kwargs):
        if not (self._forward_pre_hooks or self._forward_hooks or self._backward_hooks):
            return self.forward(*args, **kwargs)
        for hook, with_kwargs in list(self._forward_pre_hooks.values()):
            result = hook(self, args, kwargs) if with_kwargs else hook(self, args)
            if result is not None:
                if with_kwargs:
                    args, kwargs = result
                else:
                    args = result if isinstance(result, tuple) else (result,)
        if self._backward_hooks:
            args, watch = _watch_inputs(self, args)
        output = self.forward(*args, **kwargs)
        for hook, with_kwargs in list(self._forward_hooks.values()):
            result = hook(self, args, kwargs, output) if with_kwargs else hook(self, args, output)
            if result is not None:
                output = result
        return watch(output) if self._backward_hooks else output

    def register_forward_pre_hook(self, hook, *, prepend=False, with_kwargs=False):
        """Calls ``hook(module, args)`` before forward; what it returns takes the arguments' place."""
        return _register(self._forward_pre_hooks, (hook, with_kwargs), prepend)

    def register_forward_hook(self, hook, *, prepend=False, with_kwargs=False):
        """Calls ``hook(module, args, output)`` after forward; what it returns takes the output's place."""
        return _register(self._forward_hooks, (hook, with_kwargs), prepend)

    def register_full_backward_hook(self, hook, prepend=False):
        """Calls ``hook(module, grad_input, grad_output)`` when the gradients of the inputs are known."""
        return _register(self._backward_hooks, hook, prepend)

    # ---- walking

    def named_modules(self, memo=None, prefix="", remove_duplicate=True):
        """This module and all below it, with their paths."""
        memo = set() if memo is None else memo
        if id(self) in memo:
            return
        if remove_duplicate:
            memo.add(id(self))
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self):
        """This module and all below it."""
        for _, module in self.named_modules():
            yield module

    def named_children(self):
        """The modules directly below, with their names."""
        seen = set()
        for name, module in self._modules.items():
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self):
        """The modules directly below."""
        for _, module in self.named_children():
            yield module

    def _named_parts(self, kind, prefix, recurse, remove_duplicate):
        seen = set()
        modules = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else [(prefix, self)]
        for path, module in modules:
            for name, part in getattr(module, kind).items():
                if part is None or id(part) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(part))
                yield (f"{path}.{name}" if path else name), part

    def named_parameters(self, prefix="", recurse=True, remove_duplicate=True):
        """The parameters with their paths; shared ones once."""
        return self._named_parts("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse=True):
        """The parameters; shared ones once."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(self, prefix="", recurse=True, remove_duplicate=True):
        """The buffers with their paths."""
        return self._named_parts("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse=True):
        """The buffers."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    # ---- changing

    def apply(self, fn):
        """Calls ``fn`` with every module below and then with this one."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def _apply(self, fn, floats_only=False):
        done = {}
        for module in self.modules():
            for name, parameter in module._parameters.items():
                if parameter is None or id(parameter) in done:
                    continue
                done[id(parameter)] = parameter
                grad = parameter.grad
                new = fn(parameter.detach())
                if new.dtype != parameter.dtype or new.device != parameter.device:
                    parameter._set_data(new)
                    if grad is not None:
                        parameter.grad = fn(grad)
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    module._buffers[name] = fn(buffer)
        return self

    def to(self, *args, **kwargs):
        """Moves parameters and buffers to a device, or floating-point ones to a dtype."""

        def move(tensor):
            moved = tensor.to(*args, **kwargs)
            if moved.dtype != tensor.dtype and not tensor.is_floating_point():
                return tensor.to(device=moved.device)
            return moved

        return self._apply(move)

    def _to_float(self, dtype):
        return self._apply(lambda t: t.to(dtype) if t.is_floating_point() else t)

    def float(self):
        """Floating-point parameters and buffers to float32."""
        return self._to_float(_dtype("float32"))

    def double(self):
        """Floating-point parameters and buffers to float64."""
        return self._to_float(_dtype("float64"))

    def half(self):
        """Floating-point parameters and buffers to float16."""
        return self._to_float(_dtype("float16"))

    def bfloat16(self):
        """Floating-point parameters and buffers to bfloat16."""
        return self._to_float(_dtype("bfloat16"))

    def type(self, dst_type):
        """Parameters and buffers to a dtype."""
        return self._apply(lambda t: t.to(dst_type))

    def cpu(self):
        """Parameters and buffers to main memory."""
        return self._apply(lambda t: t.cpu())

    def cuda(self, device=None):
        """Parameters and buffers to a GPU."""
        return self._apply(lambda t: t.cuda(device))

    def train(self, mode=True):
        """Sets this module and all below it to training, or not."""
        if not isinstance(mode, bool):
            raise ValueError(f"train: a bool was needed, got {type(mode).__name__}")
        for module in self.modules():
            object.__setattr__(module, "training", mode)
        return self

    def eval(self):
        """Sets this module and all below it to evaluation."""
        return self.train(False)

    def requires_grad_(self, requires_grad=True):
        """Freezes or thaws all parameters."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none=True):
        """Forgets the gradients of all parameters."""
        for parameter in self.parameters():
            if set_to_none or parameter.grad is None:
                parameter.grad = None
            else:
                parameter.grad.zero_()

    def share_memory(self):
        """Threads see the same memory anyway; for scripts that call it."""
        return self

    # ---- state

    def state_dict(self, *, destination=None, prefix="", keep_vars=False):
        """Parameters and buffers by path."""
        state = {} if destination is None else destination
        for path, module in self.named_modules(remove_duplicate=False):
            path = f"{prefix}{path}." if path else prefix
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    state[path + name] = parameter if keep_vars else parameter.detach()
            for name, buffer in module._buffers.items():
                if buffer is not None and name not in module._transient:
                    state[path + name] = buffer if keep_vars else buffer.detach()
        for hook in list(self._state_dict_hooks.values()):
            hook(self, state, prefix, {})
        return state

    def load_state_dict(self, state_dict, strict=True, assign=False):
        """Takes values over by path; strictly, names must be the same on both sides. Nothing is changed on an error."""
        own = self.state_dict(keep_vars=True)
        missing = [name for name in own if name not in state_dict]
        unexpected = [name for name in state_dict if name not in own]
        faults = []
        if strict and missing:
            faults.append(f"missing {_listed(missing)}")
        if strict and unexpected:
            faults.append(f"unexpected {_listed(unexpected)}")
        unfit = []
        for name, tensor in own.items():
            given = state_dict.get(name)
            if given is not None and tuple(given.shape) != tuple(tensor.shape):
                unfit.append(f"{name} (given {list(given.shape)}, needed {list(tensor.shape)})")
        if unfit:
            faults.append(f"of another shape {_listed(unfit)}")
        if faults:
            raise _format_error(f"the state does not fit {type(self).__name__}: {'; '.join(faults)}")
        from ...autograd.grad_mode import no_grad

        with no_grad():
            for name, tensor in own.items():
                if name in state_dict:
                    given = state_dict[name]
                    if not isinstance(given, Tensor):
                        given = _tensor(given)
                    tensor.copy_(given)
        return _Incompatible(missing, unexpected)

    # ---- showing

    def extra_repr(self):
        """What stands in the parentheses of its repr."""
        return ""

    def _get_name(self):
        return type(self).__name__

    def __repr__(self):
        extra = self.extra_repr()
        children = [f"({name}): " + repr(module).replace("\n", "\n  ") for name, module in self._modules.items()]
        if not children:
            return f"{self._get_name()}({extra})"
        head = extra.split("\n") if extra else []
        return f"{self._get_name()}(\n  " + "\n  ".join(head + children) + "\n)"

    def __setstate__(self, state):
        self.__dict__.update(state)


def _check_name(module, name, parts):
    if "_parameters" not in module.__dict__:
        raise AttributeError(f"{type(module).__name__}: call super().__init__() first")
    if not isinstance(name, str) or not name or "." in name:
        raise KeyError(f"a name must be a text without dots, got {name!r}")
    if hasattr(module, name) and name not in parts:
        raise KeyError(f"{type(module).__name__} has an attribute {name} already")


def _register(hooks, hook, prepend):
    handle = RemovableHandle(hooks)
    if prepend:
        rest = dict(hooks)
        hooks.clear()
        hooks[handle.id] = hook
        hooks.update(rest)
    else:
        hooks[handle.id] = hook
    return handle


def _watch_inputs(module, args):
    """Inputs that call the backward hooks when their gradients are known, and what notes the outputs' gradients."""
    seen = {}

    def with_gradients(grad_input, grad_output):
        for hook in list(module._backward_hooks.values()):
            result = hook(module, grad_input, grad_output)
            if result is not None:
                grad_input = result if isinstance(result, tuple) else (result,)
        return grad_input

    boundary = _boundary()
    tracked = [i for i, x in enumerate(args) if isinstance(x, Tensor) and x.requires_grad]
    if tracked:
        passed = boundary.apply(
            lambda grads: with_gradients(_spread(args, tracked, grads), seen.get("output")),
            tracked,
            *[args[i] for i in tracked],
        )
        args = list(args)
        for i, x in zip(tracked, passed if isinstance(passed, tuple) else (passed,)):
            args[i] = x
        args = tuple(args)

    def watch(output):
        many = output if isinstance(output, tuple) else (output,)
        outputs = [x for x in many if isinstance(x, Tensor) and x.requires_grad]
        if not outputs:
            return output

        def note(grads):
            seen["output"] = tuple(grads)
            if not tracked:
                with_gradients((None,) * len(args), tuple(grads))
            return grads

        passed = boundary.apply(note, list(range(len(outputs))), *outputs)
        passed = iter(passed if isinstance(passed, tuple) else (passed,))
        result = tuple(next(passed) if isinstance(x, Tensor) and x.requires_grad else x for x in many)
        return result if isinstance(output, tuple) else result[0]

    return args, watch


def _spread(args, tracked, grads):
    out = [None] * len(args)
    for i, g in zip(tracked, grads):
        out[i] = g
    return tuple(out)


@functools.cache
def _boundary():
    from ...autograd import Function

    class Boundary(Function):
        """Passes its inputs on; backward shows the gradients to a function and picks what it returns."""

        @staticmethod
        def forward(ctx, see, places, *tensors):
            ctx.see, ctx.places = see, places
            return tensors

        @staticmethod
        def backward(ctx, *grads):
            seen = ctx.see(grads)
            picked = [seen[i] for i in ctx.places] if len(seen) != len(grads) else list(seen)
            return None, None, *picked

    return Boundary


def _listed(names, shown=20):
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def _dtype(name):
    from ... import _esker

    return getattr(_esker, name)


def _tensor(data):
    from ... import _esker

    return _esker.tensor(data)


def _format_error(sentence):
    from ... import _esker

    return _esker.FormatError(sentence)
