"""Data sets, readers and changes to images. Datasets and loaders are in ``esker.utils.data``."""

import dataclasses

from . import _esker

__all__ = ["RandomAffine", "digits", "find_data", "read_idx"]


def digits():
    """1,797 handwritten digits that travel with Esker: images (float32 ``[1797, 1, 8, 8]``, 0 to 1) and labels."""
    return _esker._digits()


def find_data(name, *files):
    """The paths of the files of a data set: ``$ESKER_DATA/<name>/<file>``, or the same with ``.gz`` behind it.

    Raises UnavailableError with one line saying what was not found and where it was looked for.
    """
    return [_esker._find_data(name, file) for file in files]


def read_idx(path):
    """Reads an IDX file, the format of MNIST and its kin, compressed with gzip or not."""
    return _esker._read_idx(path)


@dataclasses.dataclass(frozen=True)
class RandomAffine:
    """Turns, scales, slants and shifts every image of a batch ``[n, c, h, w]`` at random, each within its range.

    ``degrees`` to either side, ``shift`` in pixels, ``scale`` as a fraction, ``shear`` as pixels per row.
    """

    degrees: float = 0.0
    shift: float = 0.0
    scale: float = 0.0
    shear: float = 0.0

    def __call__(self, images):
        return _esker._random_affine(images, self.degrees, self.shift, self.scale, self.shear)
