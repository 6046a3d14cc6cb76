"""Optimisers over the native ones: parameter groups are plain dicts that can be changed between steps."""

from .. import _esker
from .._esker import Native, Tensor


class Optimizer:
    """Moves parameters along their gradients.

    ``param_groups`` is a list of dicts with the parameters under "params"; changes of "lr" and "weight_decay" hold from
    the next step on. A subclass of one's own defines ``step``.
    """

    _kind = None

    def __init__(self, params, defaults):
        if isinstance(params, Tensor):
            raise TypeError("an optimiser takes a list of parameters, got a tensor")
        params = list(params)
        if not params:
            raise ValueError("an optimiser was given no parameters")
        self.defaults, self.param_groups, self.state = dict(defaults), [], {}
        self._native = self._saved = None
        for group in params if isinstance(params[0], dict) else [{"params": params}]:
            self.add_param_group(group)

    def add_param_group(self, param_group):
        """Adds a group of parameters with settings of its own."""
        group = dict(self.defaults, **param_group)
        group["params"] = [group["params"]] if isinstance(group["params"], Tensor) else list(group["params"])
        if group["params"] and isinstance(group["params"][0], tuple):
            group["params"] = [p for _, p in group["params"]]
        known = {id(p) for g in self.param_groups for p in g["params"]}
        for p in group["params"]:
            if not isinstance(p, Tensor):
                raise TypeError(f"an optimiser takes tensors, got {type(p).__name__}")
            if not p.is_leaf:
                raise ValueError("an optimiser takes leaves, got a tensor that was computed")
            if id(p) in known:
                raise ValueError("a parameter is in more than one group")
        if self._native is not None:
            self._saved, self._native = self._native.state(), None
        self.param_groups.append(group)

    def _options(self):
        """What the native optimiser takes beside the groups: the settings of the first."""
        return {k: v for k, v in self.param_groups[0].items() if k not in ("params", "lr", "weight_decay")}

    def _ready(self):
        if self._native is None:
            groups = [(g["params"], float(g["lr"]), float(g.get("weight_decay", 0.0))) for g in self.param_groups]
            for g in self.param_groups:
                for p in g["params"]:
                    if not p.requires_grad:
                        p.requires_grad_(), p.requires_grad_(False)
            self._native = Native(self._kind, groups, self._options())
            if self._saved:
                self._native.load(self._saved)
                self._saved = None
        self._native.set([(float(g["lr"]), float(g.get("weight_decay", 0.0)), _momentum(g)) for g in self.param_groups])
        return self._native

    def step(self, closure=None):
        """Moves each parameter once; ``closure`` computes the loss again first."""
        loss = None
        if closure is not None:
            from ..autograd.grad_mode import enable_grad

            with enable_grad():
                loss = closure()
        self._ready().step()
        return loss

    def zero_grad(self, set_to_none=True):
        """Forgets all gradients."""
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none or p.grad is None:
                    p.grad = None
                else:
                    p.grad.zero_()

    def state_dict(self):
        """What the optimiser remembers, by number of the parameter, and its groups' settings."""
        numbers, groups = iter(range(10**9)), []
        for g in self.param_groups:
            groups.append({k: v for k, v in g.items() if k != "params"} | {"params": [next(numbers) for _ in g["params"]]})
        state = {}
        native = self._native.state() if self._native is not None else self._saved or {}
        for name, value in native.items():
            number, _, what = name.partition(".")
            state.setdefault(int(number), {})[what] = value
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict):
        """Takes over what an optimiser over the same parameters remembered."""
        groups = state_dict["param_groups"]
        sizes = [len(g["params"]) for g in groups], [len(g["params"]) for g in self.param_groups]
        if sizes[0] != sizes[1]:
            raise ValueError(f"the state is of groups of {sizes[0]} parameters, the optimiser has {sizes[1]}")
        for own, given in zip(self.param_groups, groups):
            own.update({k: v for k, v in given.items() if k != "params"})
        flat = {}
        for number, entries in state_dict["state"].items():
            for what, value in entries.items():
                flat[f"{number}.{what}"] = value if isinstance(value, Tensor) else _esker.tensor(value)
        self._native, self._saved = None, flat
        self._ready()

    def __repr__(self):
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {k}: {v}" for k, v in sorted(group.items()) if k != "params"]
        return "\n".join([*lines, ")"])


def _momentum(group):
    """A momentum, or first beta, of the group's own, which schedules may change."""
    if "betas" in group:
        return float(group["betas"][0])
    return float(group["momentum"]) if "momentum" in group else None


def _at_least_zero(**settings):
    for name, value in settings.items():
        if not value >= 0:
            raise ValueError(f"{name} must be 0 or more, got {value}")


def _below_one(betas):
    for beta in betas:
        if not 0 <= beta < 1:
            raise ValueError(f"betas must be from 0 to below 1, got {betas}")
