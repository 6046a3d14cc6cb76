"""Indexing against NumPy."""

import numpy as np
import pytest

import esker

ARRAY = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
KEYS = [
    0,
    -1,
    (1, 2),
    (1, 2, 3),
    slice(None),
    (slice(None), slice(1, 3)),
    (slice(None), slice(None, None, 2)),
    (slice(None), slice(None, None, -1)),
    (Ellipsis, 0),
    (0, Ellipsis, slice(1, None)),
    None,
    (slice(None), None, 1),
    (Ellipsis, None),
    [0, 1, 0],
    (slice(None), [2, 0]),
    ([0, 1], [1, 2]),
    ([[0], [1]], [0, 2]),
    (0, [1, 2]),
    ([0, 1], slice(None), [1, 3]),
    (slice(None), [0, 2], None, [1, 1]),
    [],
]


@pytest.mark.parametrize("key", KEYS, ids=[repr(k) for k in KEYS])
def test_reading_and_writing(key):
    x = esker.tensor(ARRAY)
    want = ARRAY[tuple(key) if isinstance(key, tuple) else key] if key != [] else ARRAY[np.array([], np.int64)]
    assert np.array_equal(x[key].numpy(), want)
    changed, y = ARRAY.copy(), esker.tensor(ARRAY)
    changed[key if key != [] else np.array([], np.int64)] = 99
    y[key] = 99
    assert np.array_equal(y.numpy(), changed)
    leaf = esker.tensor(ARRAY, requires_grad=True)
    (leaf[key] * 2).sum().backward()
    count = np.zeros_like(ARRAY)
    np.add.at(count, key if key != [] else np.array([], np.int64), 2)
    assert np.array_equal(leaf.grad.numpy(), count)


def test_masks():
    x = esker.tensor(ARRAY)
    mask = ARRAY > 11
    assert np.array_equal(x[x > 11].numpy(), ARRAY[mask])
    assert np.array_equal(x[esker.tensor([True, False])].numpy(), ARRAY[[True, False]])
    assert np.array_equal(x[mask].numpy(), ARRAY[mask])
    x[x > 11] = 0
    assert np.array_equal(x.numpy(), np.where(mask, 0, ARRAY))
    x[:, 1] = esker.tensor([5.0, 6.0, 7.0, 8.0])
    assert x[0, 1].tolist() == x[1, 1].tolist() == [5, 6, 7, 8]


def test_written_values_have_gradients():
    x, v = esker.ones(3, requires_grad=True), esker.tensor(5.0, requires_grad=True)
    y = x * 1
    y[1] = v
    (y * esker.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert x.grad.tolist() == [1, 0, 3] and v.grad.item() == 2


def test_what_is_out_of_range():
    x = esker.tensor(ARRAY)
    for key in (2, (0, 3), [0, 2], (0, 0, 0, 0), (Ellipsis, Ellipsis)):
        with pytest.raises(IndexError):
            x[key]
    with pytest.raises(TypeError):
        x[1.5]
    with pytest.raises((ValueError, IndexError)):
        x[esker.tensor([True, False, True])]
    x[0] = 1
    with pytest.raises(ValueError):
        x[0] = esker.ones(5)
    whole = esker.arange(3)
    whole[0] = 7.9
    assert whole.tolist() == [7, 1, 2]
