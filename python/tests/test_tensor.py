"""Tensors against NumPy."""

import copy
import pickle

import numpy as np
import pytest

import esker

DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"]


@pytest.mark.parametrize("name", DTYPES)
def test_numpy_there_and_back(name):
    array = np.arange(6).reshape(2, 3).astype(name if name != "bool" else np.bool_)
    tensor = esker.from_numpy(array)
    assert tensor.dtype is getattr(esker, name) and tensor.shape == (2, 3)
    assert np.array_equal(tensor.numpy(), array) and tensor.tolist() == array.tolist()
    assert np.array_equal(np.from_dlpack(tensor), array)
    assert np.array_equal(esker.from_dlpack(array).numpy(), array)
    assert np.array_equal(esker.tensor(array[:, ::-1]).numpy(), array[:, ::-1])
    assert np.array_equal(esker.from_numpy(array[::-1, ::2]).numpy(), array[::-1, ::2])


def test_memory_is_shared_and_read_only():
    array = np.zeros(3, np.float32)
    tensor = esker.from_numpy(array)
    array[0] = 5
    assert tensor.tolist() == [5, 0, 0]
    view = tensor.numpy()
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 1
    made = esker.ones(3)
    seen = made.numpy()
    made += 1
    assert seen.tolist() == [1, 1, 1] and made.tolist() == [2, 2, 2]


def test_the_owner_of_foreign_memory_stays():
    tensor = esker.from_numpy(np.arange(1000, dtype=np.float32))
    churn = [np.full(1000, -1, np.float32) for _ in range(50)]
    assert tensor.sum().item() == 499500 and len(churn) == 50


def test_data_makes_dtypes():
    assert esker.tensor([1, 2]).dtype is esker.int64
    assert esker.tensor([1, 2.5]).dtype is esker.float32
    assert esker.tensor([True, False]).dtype is esker.bool
    assert esker.tensor([[1], [2]]).shape == (2, 1) and esker.tensor([]).shape == (0,)
    assert esker.tensor(2**62).item() == 2**62
    assert esker.tensor(np.float32(1.5)).dtype is esker.float32


def test_plain_numbers_are_weak():
    for dtype in (esker.int8, esker.int32, esker.float16, esker.float64):
        assert (esker.tensor([1], dtype=dtype) + 1).dtype is dtype
        assert (1 - esker.tensor(1, dtype=dtype)).dtype is dtype
    assert (esker.tensor([1]) + 1.5).dtype is esker.float32
    assert (esker.tensor([True]) + 1).dtype is esker.int64
    assert (esker.tensor([1.0], dtype=esker.float64) * 0.1).item() == 0.1


def test_operators_are_numpys():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((3, 4)), rng.standard_normal((4,)) + 3
    x, y = esker.from_numpy(a), esker.from_numpy(b)
    for f in (
        lambda p, q: p + q,
        lambda p, q: p - q,
        lambda p, q: p * q,
        lambda p, q: p / q,
        lambda p, q: p // q,
        lambda p, q: p % q,
        lambda p, q: abs(p) ** q,
        lambda p, q: 2 - p,
        lambda p, q: 2 / q,
        lambda p, q: 2**p,
        lambda p, q: -p,
        lambda p, q: p < q,
        lambda p, q: (p > 0) & ~(q > 3),
        lambda p, q: p @ q,
    ):
        assert np.allclose(f(x, y).numpy(), f(a, b), rtol=1e-12), f
    assert isinstance(a + x, esker.Tensor) and np.allclose((a + x).numpy(), a + a)


def test_in_place_rebinds_and_leaves_others_alone():
    x = esker.zeros(2, 2)
    alias, row = x, x[0]
    x += 1
    assert alias.tolist() == [[1, 1], [1, 1]] and row.tolist() == [0, 0]
    x.mul_(3).sub_(1)
    assert x.tolist() == [[2, 2], [2, 2]]
    with pytest.raises(TypeError, match="does not fit in place of int64"):
        esker.tensor([1]).add_(0.5)


def test_copies_and_pickles():
    x = esker.randn(2, 3, requires_grad=True)
    for y in (copy.deepcopy(x), pickle.loads(pickle.dumps(x)), x.clone().detach()):
        assert np.array_equal(y.detach().numpy(), x.detach().numpy())
    assert copy.deepcopy(x).requires_grad
    assert pickle.loads(pickle.dumps(esker.float32)) is esker.float32
    assert pickle.loads(pickle.dumps(esker.device("cpu"))) == esker.device("cpu")


def test_prints_like_pytorch():
    assert repr(esker.tensor([1, 2])) == "tensor([1, 2])"
    assert repr(esker.tensor([1.0, 2.5])) == "tensor([1.0000, 2.5000])"
    assert repr(esker.tensor([True])) == "tensor([True])"
    assert repr(esker.zeros(2, dtype=esker.float64)) == "tensor([0., 0.], dtype=esker.float64)"
    x = esker.ones(1, requires_grad=True)
    assert repr(x) == "tensor([1.], requires_grad=True)"
    assert repr(x + 1) == "tensor([2.], grad_fn=<AddBackward>)"
    assert repr(esker.zeros(0, 3)) == "tensor([], size=(0, 3))"


def test_sizes_and_lists_as_arguments():
    x = esker.arange(6)
    assert x.reshape(2, 3).shape == x.reshape((2, 3)).shape == x.view(2, -1).shape == esker.Size([2, 3])
    assert x.reshape(2, 3).permute(1, 0).shape == (3, 2) and x.reshape(1, 2, 3).sum((0, 2)).shape == (2,)
    assert x.reshape(2, 3).sum(axis=0, keepdims=True).shape == (1, 3)
    assert esker.zeros(2, 3).shape == esker.zeros((2, 3)).shape == esker.zeros(size=(2, 3)).shape
    values, indices = esker.tensor([[1.0, 3.0]]).max(dim=1)
    assert values.item() == 3 and indices.item() == 1 and x.max().item() == 5


def test_every_row_is_there_with_a_signature():
    import inspect

    for name in esker._esker._table:
        row = getattr(esker._esker, name)
        assert callable(row) and row.__doc__, name
        assert inspect.signature(row).parameters or name in (), name


def test_print_options():
    esker.set_printoptions(precision=2)
    assert repr(esker.tensor([1.0, 2.5])) == "tensor([1.00, 2.50])"
    esker.set_printoptions(profile="default")
    assert repr(esker.tensor([1.0, 2.5])) == "tensor([1.0000, 2.5000])"


def test_generators_of_ones_own():
    first, again = (esker.Generator().manual_seed(3).permutation(9).tolist() for _ in range(2))
    esker.manual_seed(1)
    before = esker.get_rng_state()
    assert first == again and sorted(first) == list(range(9)) and esker.get_rng_state() == before


def test_limits_of_dtypes():
    for dtype in (esker.float64, esker.float32, esker.float16):
        mine, numpys = esker.finfo(dtype), np.finfo(str(dtype).removeprefix("esker."))
        for name in ("bits", "eps", "max", "min", "tiny", "smallest_normal"):
            assert getattr(mine, name) == float(getattr(numpys, name)), (dtype, name)
        assert type(numpys.resolution)(mine.resolution) == numpys.resolution  # NumPy's is rounded to the dtype.
    assert esker.finfo(esker.bfloat16).eps == 2**-7 and esker.finfo().bits == 32
    for dtype in (esker.uint8, esker.int8, esker.int16, esker.int32, esker.int64):
        mine, numpys = esker.iinfo(dtype), np.iinfo(str(dtype).removeprefix("esker."))
        assert (mine.bits, mine.min, mine.max) == (numpys.bits, numpys.min, numpys.max)
    with pytest.raises(TypeError, match="use iinfo"):
        esker.finfo(esker.int32)
    with pytest.raises(TypeError, match="an integer dtype"):
        esker.iinfo(esker.bool)
