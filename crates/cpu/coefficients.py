"""The fitted coefficients in src/vector/math.rs. Needs mpmath: python3 coefficients.py

Fits are weighted least squares whose weights follow the error (Lawson's algorithm), which tends to the minimax polynomial.
Coefficients are rounded to f32 one by one, from the lowest power on, and the rest fitted again to what is left.
"""
import struct

from mpmath import cos, erf, exp, log, lu_solve, matrix, mp, mpf, pi

mp.dps = 40


def f32(v):
    return struct.unpack("f", struct.pack("f", float(v)))[0]


def bits(v):
    return struct.unpack("I", struct.pack("f", v))[0]


def from_bits(b):
    return struct.unpack("f", struct.pack("I", b))[0]


def shortest(v):
    """The fewest digits that stand for this f32."""
    return next(t for t in (f"{v:.{n}g}" for n in range(1, 10)) if f32(float(t)) == v)


def ulp(v):
    b = bits(f32(abs(v)))
    return mpf(from_bits(b + 1)) - mpf(from_bits(b))


def nodes(lo, hi, n=80):
    """Chebyshev nodes of the interval, but for those beside 0, where every fit here is exact."""
    at = [(lo + hi) / 2 + (hi - lo) / 2 * cos(pi * (2 * k + 1) / (2 * n)) for k in range(n)]
    return [x for x in at if abs(x) > mpf(10) ** -5]


def least_squares(at, target, powers, weights):
    n = len(powers)
    a, b = matrix(n, n), matrix(n, 1)
    for x, t, w in zip(at, target, weights):
        p = [x**k for k in powers]
        for i in range(n):
            b[i] += w * p[i] * t
            for j in range(n):
                a[i, j] += w * p[i] * p[j]
    return lu_solve(a, b)


def fit(at, target, powers, scale):
    """f32 coefficients of `powers` for the values `target`, and the greatest error times `scale`."""
    found, left, powers = {}, list(target), list(powers)
    while powers:
        weights = [s * s for s in scale]
        for _ in range(40):
            c = least_squares(at, left, powers, weights)
            off = [abs(t - sum(c[i] * x**k for i, k in enumerate(powers))) * s for x, t, s in zip(at, left, scale)]
            weights = [w * (e / max(off) + mpf(10) ** -3) for w, e in zip(weights, off)]
        first = powers.pop(0)
        found[first] = f32(c[0])
        left = [t - mpf(found[first]) * x**first for x, t in zip(at, left)]
    return found, max(abs(t * s) for t, s in zip(left, scale))


def exp_polynomial():
    """e^r = 1 + r + c2 r^2 + .. + c6 r^6 for |r| <= ln(2)/2, by relative error."""
    at = nodes(-log(2) / 2 - mpf(10) ** -6, log(2) / 2 + mpf(10) ** -6)
    found, off = fit(at, [exp(x) - 1 - x for x in at], range(2, 7), [exp(-x) for x in at])
    print(f"exp, c6 to c2 (relative error 2^{float(log(off, 2)):.1f}):")
    print("  ", ", ".join(shortest(found[k]) for k in range(6, 1, -1)))


STEP = mpf(16) / 63


def centre(i):
    """An f32 near i steps whose error function is almost an f32, after S. Gal's accurate tables."""
    if i == 0:
        return 0.0
    start, best = bits(f32(i * STEP)), None
    for k in range(1500):
        for b in (start + k, start - k):
            e = erf(mpf(from_bits(b)))
            off = abs(e - mpf(f32(e))) / ulp(e)
            best = min(best or (off, b), (off, b))
        if best[0] < mpf(2) ** -9:
            break
    return from_bits(best[1])


def erf_pieces():
    """erf = c0 + c1 d + .. + c5 d^5 for d = x - centre, in sixteen pieces; the first is odd, and leaves out x itself."""
    rows = []
    for i in range(16):
        c = mpf(centre(i))
        c0 = mpf(f32(erf(c)))
        at = nodes((i - mpf(1) / 2) * STEP - c if i else mpf(10) ** -4, (i + mpf(1) / 2) * STEP - c)
        scale = [1 / ulp(erf(c + d)) if i else mpf(2) ** 24 / erf(d) for d in at]
        target = [erf(c + d) - c0 if i else erf(d) - d for d in at]
        found, off = fit(at, target, range(1, 6) if i else (1, 3, 5), scale)
        rows.append([float(c), float(c0)] + [found.get(k, 0.0) for k in range(1, 6)])
        print(f"erf, piece {i}: {float(off):.3f} ulp but for rounding")
    for name, column in zip(["centre", "c0", "c1", "c2", "c3", "c4", "c5"], zip(*rows)):
        print(f"  {name}: [" + ", ".join(map(shortest, column)) + "]")


if __name__ == "__main__":
    exp_polynomial()
    erf_pieces()
