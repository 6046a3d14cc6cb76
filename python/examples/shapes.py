"""Pictures of shapes, and which shape each pixel belongs to."""

import esker
import numpy

NAMES = ["background", "circle", "square", "triangle"]
# Shapes in a picture, of which later ones cover earlier ones, and the largest change of a pixel by noise.
SHAPES, NOISE = 3, 0.3


def covered(kind, x, y):
    """Where a shape of size 1 around the origin is."""
    if kind == 1:
        return x**2 + y**2 <= 1
    if kind == 2:
        return numpy.maximum(abs(x), abs(y)) <= 0.9
    return (abs(y) <= 0.9) & (abs(x) <= (y + 0.9) / 1.8)


def draw(count, side, seed):
    """``count`` pictures float32 ``[count, 1, side, side]`` and the classes of their pixels int64 ``[count, side, side]``."""
    random = numpy.random.default_rng(seed)
    middle = (numpy.arange(side) + 0.5) / side
    pixels, classes = numpy.full((count, side, side), 0.2), numpy.zeros((count, side, side), dtype=numpy.int64)
    for picture in range(count):
        for _ in range(SHAPES):
            kind, (x, y) = random.integers(1, len(NAMES)), random.uniform(0.15, 0.85, 2)
            size, shade = random.uniform(0.1, 0.22), random.uniform(0.5, 1.0)
            inside = covered(kind, (middle[None, :] - x) / size, (middle[:, None] - y) / size)
            pixels[picture][inside], classes[picture][inside] = shade, kind
    pixels += random.uniform(-NOISE, NOISE, pixels.shape)
    return esker.from_numpy(pixels.astype("float32")).unsqueeze(1), esker.from_numpy(classes)


def show(picture, seen):
    """A picture and the classes that were seen in it, side by side."""
    for pixels, classes in zip(picture.tolist(), seen.tolist()):
        left = "".join(" ░▒▓█"[min(max(round(4 * p), 0), 4)] for p in pixels)
        print(left + "  " + "".join(".O#^"[c] for c in classes))
    print()
