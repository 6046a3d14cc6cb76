"""The optimisers; what moves the parameters is native."""

from .optimizer import Optimizer, _at_least_zero, _below_one


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if wanted."""

    _kind = "SGD"

    def __init__(self, params, lr=1e-3, momentum=0, dampening=0, weight_decay=0, nesterov=False, **plain):
        _no_more(plain)
        _at_least_zero(lr=lr, momentum=momentum, weight_decay=weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("SGD: Nesterov needs momentum and no dampening")
        settings = dict(lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay, nesterov=nesterov)
        super().__init__(params, settings)


class _Adam(Optimizer):
    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, amsgrad=False, **plain):
        _no_more(plain)
        _at_least_zero(lr=lr, eps=eps, weight_decay=weight_decay)
        _below_one(betas)
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad))


class Adam(_Adam):
    """Adam: means of the gradient and of its square."""

    _kind = "Adam"


class AdamW(_Adam):
    """Adam with decoupled weight decay."""

    _kind = "AdamW"

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2, amsgrad=False, **plain):
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, **plain)


class NAdam(Optimizer):
    """Adam with Nesterov's momentum."""

    _kind = "NAdam"

    def __init__(
        self,
        params,
        lr=2e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0,
        momentum_decay=4e-3,
        decoupled_weight_decay=False,
        **plain,
    ):
        _no_more(plain)
        _at_least_zero(lr=lr, eps=eps, weight_decay=weight_decay, momentum_decay=momentum_decay)
        _below_one(betas)
        super().__init__(
            params,
            dict(
                lr=lr,
                betas=betas,
                eps=eps,
                weight_decay=weight_decay,
                momentum_decay=momentum_decay,
                decoupled_weight_decay=decoupled_weight_decay,
            ),
        )


class RAdam(Optimizer):
    """Adam whose first steps wait for the variance to be known."""

    _kind = "RAdam"

    def __init__(
        self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, decoupled_weight_decay=False, **plain
    ):
        _no_more(plain)
        _at_least_zero(lr=lr, eps=eps, weight_decay=weight_decay)
        _below_one(betas)
        super().__init__(
            params,
            dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, decoupled_weight_decay=decoupled_weight_decay),
        )


class Adamax(Optimizer):
    """Adam with the largest gradient in place of the mean square."""

    _kind = "Adamax"

    def __init__(self, params, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, **plain):
        _no_more(plain)
        _at_least_zero(lr=lr, eps=eps, weight_decay=weight_decay)
        _below_one(betas)
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay))


class Lion(Optimizer):
    """Moves by the sign of a momentum."""

    _kind = "Lion"

    def __init__(self, params, lr=1e-4, betas=(0.9, 0.99), weight_decay=0):
        _at_least_zero(lr=lr, weight_decay=weight_decay)
        _below_one(betas)
        super().__init__(params, dict(lr=lr, betas=betas, weight_decay=weight_decay))


class RMSprop(Optimizer):
    """The gradient over the root of its mean square."""

    _kind = "RMSprop"

    def __init__(self, params, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0, momentum=0, centered=False, **plain):
        _no_more(plain)
        _at_least_zero(lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum)
        settings = dict(lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum, centered=centered)
        super().__init__(params, settings)


class Adagrad(Optimizer):
    """The gradient over the root of the sum of its squares."""

    _kind = "Adagrad"

    def __init__(self, params, lr=1e-2, lr_decay=0, weight_decay=0, initial_accumulator_value=0, eps=1e-10, **plain):
        _no_more(plain)
        initial = initial_accumulator_value
        _at_least_zero(lr=lr, lr_decay=lr_decay, weight_decay=weight_decay, initial_accumulator_value=initial, eps=eps)
        super().__init__(
            params,
            dict(lr=lr, lr_decay=lr_decay, eps=eps, weight_decay=weight_decay, initial_accumulator_value=initial),
        )


class Adadelta(Optimizer):
    """Steps in proportion to earlier steps."""

    _kind = "Adadelta"

    def __init__(self, params, lr=1.0, rho=0.9, eps=1e-6, weight_decay=0, **plain):
        _no_more(plain)
        _at_least_zero(lr=lr, rho=rho, eps=eps, weight_decay=weight_decay)
        super().__init__(params, dict(lr=lr, rho=rho, eps=eps, weight_decay=weight_decay))


class Rprop(Optimizer):
    """Steps that grow while the gradient keeps its sign."""

    _kind = "Rprop"

    def __init__(self, params, lr=1e-2, etas=(0.5, 1.2), step_sizes=(1e-6, 50), **plain):
        _no_more(plain)
        _at_least_zero(lr=lr)
        super().__init__(params, dict(lr=lr, etas=etas, step_sizes=step_sizes))


def _no_more(plain):
    """Options of PyTorch's that only choose among kernels are taken and do nothing; `maximize` would."""
    for name, value in plain.items():
        if name not in ("foreach", "fused", "capturable", "differentiable", "maximize"):
            raise TypeError(f"there is no argument {name}")
        if name == "maximize" and value:
            raise ValueError("maximize is not there; change the sign of the loss")
