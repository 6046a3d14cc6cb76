"""ONNX Runtime on the models of export_onnx.py, which lie in the folder ONNX_DIR."""
import os
from common import *

args = arguments()
import numpy as np, onnxruntime as ort

b = Bench("onnxruntime", args)
rng = np.random.default_rng(0)
R = lambda *shape: rng.standard_normal(shape, dtype=np.float32)
letters = lambda n: rng.integers(0, LETTERS, (1, n))


def session(name):
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = args.threads, 1
    return ort.InferenceSession(os.path.join(os.environ["ONNX_DIR"], name + ".onnx"), options, providers=["CPUExecutionProvider"])


INPUTS = {
    "infer_mlp": lambda: R(1, 784),
    "infer_mlp_b128": lambda: R(128, 784),
    "infer_lenet": lambda: R(1, 1, 28, 28),
    "infer_resnet18": lambda: R(1, 3, 224, 224),
    "infer_gpt_256": lambda: letters(256),
    "infer_lstm_64": lambda: letters(64),
}
for name, make in INPUTS.items():
    if b.wants(name):
        s, x = session(name), make()
        b.run(name, lambda: s.run(None, {"x": x}), warm=10)
if b.wants("decode_gpt_64tok"):
    s = session("decode_gpt")
    zeros = {f"c{i}": np.zeros((1, 4, BEFORE, 64), np.float32) for i in range(8)}
    def decode():
        caches, letter = zeros, np.zeros((1, 1), np.int64)
        for i in range(DECODED):
            letter, *out = s.run(None, {"idx": letter, "position": np.array([BEFORE + i]), **caches})
            caches = {f"c{j}": o for j, o in enumerate(out)}
    b.run("decode_gpt_64tok", decode)
b.finish()
