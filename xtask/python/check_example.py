"""Holds an example's ONNX file against ONNX Runtime on its held-out rows, at several batch sizes.

Usage: check_example.py FOLDER.., each as an example writes it: one .onnx file, and holdout.safetensors with the model's
inputs and outputs under the names that the file has for them.
"""

import json
import pathlib
import sys

import numpy
import onnx
import onnxruntime

# Relative to max(1, |want|): f32 through a whole net; both programs sum in an order of their own.
TOLERANCE = 1e-4
DTYPES = {"F32": numpy.float32, "F64": numpy.float64, "I64": numpy.int64, "I32": numpy.int32}


def read(path):
    """The arrays of a safetensors file by name."""
    blob = path.read_bytes()
    start = 8 + int.from_bytes(blob[:8], "little")
    arrays = {}
    for name, entry in json.loads(blob[8:start]).items():
        if name != "__metadata__":
            low, high = (start + offset for offset in entry["data_offsets"])
            arrays[name] = numpy.frombuffer(blob[low:high], DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return arrays


def off(got, want):
    """The largest difference, relative to the larger of 1 and the value; infinite for other shapes, dtypes or NaN."""
    if got.shape != want.shape or got.dtype != want.dtype:
        return float("inf")
    worst = numpy.max(numpy.abs(got - want) / numpy.maximum(1, numpy.abs(want)), initial=0)
    return float("inf") if numpy.isnan(worst) else float(worst)


def check(folder):
    """The number of batch sizes at which the programs disagree."""
    [path] = folder.glob("*.onnx")
    rows = read(folder / "holdout.safetensors")
    onnx.checker.check_model(onnx.load(path), full_check=True)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    inputs = {info.name: rows[info.name] for info in session.get_inputs()}
    names = [info.name for info in session.get_outputs()]
    count = len(next(iter(inputs.values())))
    failed = 0
    for batch in sorted({1, 3, count}):
        feeds = [{name: x[i : i + batch] for name, x in inputs.items()} for i in range(0, count, batch)]
        parts = [session.run(names, feed) for feed in feeds]
        worst = max(off(numpy.concatenate(got), rows[name]) for name, got in zip(names, zip(*parts)))
        failed += not worst <= TOLERANCE
        word = "agrees" if worst <= TOLERANCE else "DIFFERS"
        print(f"{path.name}: {word} on {count} rows in batches of {batch}, largest difference {worst:.1e}")
    return failed


if __name__ == "__main__":
    failed = sum([check(pathlib.Path(folder)) for folder in sys.argv[1:]])
    sys.exit(1 if failed or len(sys.argv) < 2 else 0)
