"""The tape."""

import threading

import numpy as np
import pytest

import esker


def test_gradients_gather_in_leaves():
    x = esker.tensor([1.0, 2.0], requires_grad=True)
    assert x.is_leaf and x.grad is None
    for times in (1, 2):
        (x**2).sum().backward()
        assert x.grad.tolist() == [2.0 * times, 4.0 * times]
    x.grad.zero_()
    assert x.grad.tolist() == [0, 0]
    x.grad = None
    assert x.grad is None


def test_higher_order():
    x = esker.tensor(3.0, requires_grad=True)
    (g,) = esker.grad(x**3, x, create_graph=True)
    (h,) = esker.grad(g, x)
    assert g.item() == 27 and h.item() == 18
    y = esker.tensor(1.0, requires_grad=True)
    assert esker.grad(x * 2, [x, y], allow_unused=True)[1] is None
    with pytest.raises(RuntimeError, match="allow_unused"):
        esker.grad(x * 2, [x, y])


def test_spent_graphs_say_so():
    x = esker.ones(2, requires_grad=True)
    y = x.exp().sum()
    y.backward(retain_graph=True)
    y.backward()
    with pytest.raises(RuntimeError, match="already used by an earlier backward"):
        y.backward()


def test_modes():
    x = esker.ones(2, requires_grad=True)
    with esker.no_grad():
        assert not (x * 2).requires_grad
        with esker.enable_grad():
            assert (x * 2).requires_grad
        x -= 0.5
    assert x.tolist() == [0.5, 0.5] and x.requires_grad and x.is_leaf

    @esker.no_grad()
    def f():
        return x * 2

    assert not f().requires_grad and esker.is_grad_enabled()
    with pytest.raises(RuntimeError, match="leaf that requires grad"):
        x += 1


def test_hooks_keep_their_traceback():
    x = esker.ones(2, requires_grad=True)
    y = x * 2
    handle = y.register_hook(lambda g: g * 10)
    y.sum().backward()
    assert x.grad.tolist() == [20, 20]
    handle.remove()

    def bad(g):
        raise KeyError("mine")

    z = x * 2
    z.register_hook(bad)
    with pytest.raises(KeyError, match="mine") as info:
        z.sum().backward()
    assert any(entry.name == "bad" for entry in info.traceback)


def test_retained_and_posted():
    x = esker.ones(2, requires_grad=True)
    seen = []
    x.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad.tolist()))
    y = x * 3
    y.retain_grad()
    y.sum().backward()
    assert y.grad.tolist() == [1, 1] and seen == [[3, 3]]


def test_threads_go_backward_at_once():
    failures = []

    def work(seed):
        x = esker.full((64, 64), float(seed), requires_grad=True)
        for _ in range(20):
            x.grad = None
            (x @ x).sum().backward()
            if not np.allclose(x.grad.numpy(), 128.0 * seed):
                failures.append(seed)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(1, 5)]
    [t.start() for t in threads], [t.join() for t in threads]
    assert not failures


def test_numpy_memory_may_change_between_forward_and_backward():
    array = np.array([1.0, 2.0], np.float32)
    x = esker.from_numpy(array).requires_grad_()
    y = (x * x).sum()
    array[:] = 100
    y.backward()
    assert x.grad.tolist() == [2, 4]
