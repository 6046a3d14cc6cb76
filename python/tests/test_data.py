"""Data sets, readers and changes to images."""

import gzip

import numpy as np
import pytest

import esker
from esker.data import RandomAffine, digits, find_data, read_idx


def test_digits_are_those_of_the_archive():
    images, labels = digits()
    assert images.shape == (1797, 1, 8, 8) and images.dtype is esker.float32
    assert labels[:5].tolist() == [0, 1, 2, 3, 4]
    assert np.bincount(labels.numpy()).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_idx_files_compressed_or_not(tmp_path, monkeypatch):
    array = np.arange(6, dtype="uint8").reshape(2, 3)
    data = bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3]) + array.tobytes()
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "plain").write_bytes(data)
    (tmp_path / "set" / "packed.gz").write_bytes(gzip.compress(data))
    monkeypatch.setenv("ESKER_DATA", str(tmp_path))
    for path in find_data("set", "plain", "packed"):
        assert np.array_equal(read_idx(path).numpy(), array)
    with pytest.raises(esker.UnavailableError, match="other was not found in .*set, neither as it is nor with .gz"):
        find_data("set", "plain", "other")
    (tmp_path / "set" / "plain").write_bytes(data[:-1])
    with pytest.raises(esker.FormatError, match="plain: .* 5 bytes follow the sizes"):
        read_idx(tmp_path / "set" / "plain")


def test_affine_changes_follow_from_the_seed():
    images = digits()[0][:4]
    assert np.array_equal(RandomAffine()(images).numpy(), images.numpy())
    change = RandomAffine(degrees=10, shift=1)
    drawn = []
    for _ in range(2):
        esker.manual_seed(3)
        drawn.append(change(images).numpy())
    assert np.array_equal(*drawn) and not np.array_equal(drawn[0], change(images).numpy())
