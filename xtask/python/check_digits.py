"""Holds the exported digits net against ONNX Runtime on the whole held-out set, at three batch sizes.

Usage: check_digits.py FOLDER, as written by the example digits.
"""

import json
import pathlib
import sys

import numpy
import onnx
import onnxruntime

# f32 logits after five layers; both programs sum in an order of their own.
TOLERANCE = 1e-4


def main(folder):
    manifest = json.loads((folder / "holdout.json").read_text())
    read = lambda key: numpy.fromfile(folder / manifest[key]["file"], manifest[key]["dtype"]).reshape(manifest[key]["shape"])
    x, want, labels = read("x"), read("logits"), read("labels")
    path = str(folder / manifest["model"])
    onnx.checker.check_model(onnx.load(path), full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    failed = 0
    for batch in (1, 7, len(x)):
        parts = [session.run(None, {name: x[i : i + batch]})[0] for i in range(0, len(x), batch)]
        got = numpy.concatenate(parts)
        worst = float(numpy.abs(got - want).max())
        agree = int((got.argmax(1) == want.argmax(1)).sum())
        right = float((got.argmax(1) == labels).mean())
        good = got.shape == want.shape and worst <= TOLERANCE and agree == len(x)
        failed += not good
        print(f"batch {batch}: {agree} of {len(x)} predictions agree, largest difference {worst:.1e}, accuracy {right:.4f}")
    print(f"{3 - failed} passed, {failed} failed")
    return failed


if __name__ == "__main__":
    sys.exit(1 if main(pathlib.Path(sys.argv[1])) else 0)
