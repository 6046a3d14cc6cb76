"""Checks exported samples of the op table with two independent programs.

Each file must pass onnx.checker in full (with shape inference), and ONNX Runtime must compute what Esker computed:
the same integers and bools, floats with |got - want| <= RTOL * max(1, |want|). Ops without an ONNX form state their
reason and are counted as skipped, as are dtypes for which ONNX Runtime has no CPU kernel (the checker still runs).

Usage: check_onnx.py FOLDER, as written by the example export_ops of esker-onnx.
"""

import collections
import json
import pathlib
import re
import sys

import numpy
import onnx
import onnxruntime

# Relative to max(1, |want|). Half types round after every step of a composition, in another place in each program.
RTOL = {"float64": 1e-11, "float32": 2e-5, "float16": 2e-2}
NO_KERNEL = ("NOT_IMPLEMENTED", "does not support double", "Could not find an implementation", "unsupported type", "not supported")


def load(blob, place):
    """An array of values.bin; bfloat16 has no NumPy type and gives None."""
    if place["dtype"] == "bfloat16":
        return None
    data = numpy.frombuffer(blob, place["dtype"], offset=place["offset"], count=place["bytes"] // numpy.dtype(place["dtype"]).itemsize)
    return data.reshape(place["shape"])


def differs(got, want, slack):
    """What is wrong with a result, or None."""
    if got.dtype != want.dtype or got.shape != want.shape:
        return f"got {got.dtype}{list(got.shape)}, expected {want.dtype}{list(want.shape)}"
    if want.dtype.name not in RTOL:
        return None if numpy.array_equal(got, want) else f"got {got.ravel()[:8]}, expected {want.ravel()[:8]}"
    a, b = got.astype("float64"), want.astype("float64")
    with numpy.errstate(invalid="ignore"):
        off = numpy.abs(a - b) > (RTOL[want.dtype.name] + slack) * numpy.maximum(1, numpy.abs(b))
        same = (a == b) | (numpy.isnan(a) & numpy.isnan(b))
        bad = ~same & (off | ~numpy.isfinite(a - b))
    if not bad.any():
        return None
    i = int(numpy.flatnonzero(bad.ravel())[0])
    return f"element {i} is {a.ravel()[i]!r}, expected {b.ravel()[i]!r}"


def run(model, case, blob):
    """Runs a model; returns (outcome, text)."""
    places = case["inputs"] + case["outputs"]
    values = [load(blob, place) for place in places]
    if any(value is None for value in values):
        return "skipped", "bfloat16 has no NumPy type"
    if case["name"].startswith(("gru_layer", "lstm_layer", "rnn_layer")) and any(value.size == 0 for value in values):
        return "skipped", "ONNX Runtime ends the process over a recurrence of an empty batch"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        inputs = {info.name: value for info, value in zip(session.get_inputs(), values)}
        results = session.run(None, inputs)
    except Exception as error:  # Its exception types are many.
        text = str(error)
        if any(sign in text for sign in NO_KERNEL):
            return "skipped", "ONNX Runtime has no CPU kernel"
        if any(value.size == 0 for value in values):
            return "skipped", "ONNX Runtime refuses an empty tensor"
        return "failed", f"ONNX Runtime: {text}"
    for k, (got, want) in enumerate(zip(results, values[len(case["inputs"]) :])):
        wrong = differs(got, want, case["slack"])
        if wrong:
            return "failed", f"output {k}: {wrong}"
    return "passed", ""


def check(folder, case, blob):
    if "skip" in case:
        return ("skipped", case["skip"]) if "has no ONNX form" in case["skip"] else ("failed", case["skip"])
    model = (folder / case["file"]).read_bytes()
    try:
        onnx.checker.check_model(onnx.load_from_string(model), full_check=True)
    except Exception as error:
        return "failed", f"onnx.checker: {error}"
    if case["unspecified"]:
        return "skipped", case["unspecified"]
    return run(model, case, blob)


def main():
    folder = pathlib.Path(sys.argv[1])
    blob = (folder / "values.bin").read_bytes()
    cases = json.loads((folder / "manifest.json").read_text())["cases"]
    counts = collections.Counter()
    reasons = collections.Counter()
    shown = 0
    for case in cases:
        outcome, text = check(folder, case, blob)
        counts[outcome] += 1
        if outcome == "skipped":
            reasons[re.sub(r" at opset [0-9]+", "", text)] += 1
        elif outcome == "failed" and shown < 60:
            shown += 1
            print(f"FAILED {case['name']}: {text[:400]}")
    for reason, count in reasons.most_common():
        print(f"skipped {count}: {reason}")
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    sys.exit(1 if counts["failed"] or not counts["passed"] else 0)


if __name__ == "__main__":
    main()
