"""Exports the models for inference with torch.onnx, for ONNX Runtime and tract. Usage: export_onnx.py FOLDER"""
import os, sys, warnings
import torch
import models_torch as M
from common import BEFORE, LETTERS

warnings.filterwarnings("ignore")
folder = sys.argv[1]
os.makedirs(folder, exist_ok=True)
torch.manual_seed(0)


def export(name, model, args, **kw):
    path = os.path.join(folder, name + ".onnx")
    torch.onnx.export(model.eval(), args, path, opset_version=17, dynamo=False, **kw)


class Step(torch.nn.Module):
    """One letter of decoding: the next letter, and what is remembered then."""

    def __init__(self):
        super().__init__()
        self.gpt = M.GPT()

    def forward(self, idx, position, *caches):
        logits, out = self.gpt.step(idx, position, caches)
        return (logits.argmax(-1), *out)


letters = lambda *shape: torch.randint(0, LETTERS, shape)
export("infer_mlp", M.mlp(), (torch.randn(1, 784),), input_names=["x"])
export("infer_mlp_b128", M.mlp(), (torch.randn(128, 784),), input_names=["x"])
export("infer_lenet", M.lenet(), (torch.randn(1, 1, 28, 28),), input_names=["x"])
export("infer_resnet18", M.resnet18(), (torch.randn(1, 3, 224, 224),), input_names=["x"])
export("infer_gpt_256", M.GPT(), (letters(1, 256),), input_names=["x"])
export("infer_lstm_64", M.LSTM(), (letters(1, 64),), input_names=["x"])
caches, results = [f"c{i}" for i in range(8)], [f"o{i}" for i in range(8)]
export("decode_gpt", Step(), (letters(1, 1), torch.tensor([BEFORE]), *[torch.zeros(1, 4, BEFORE, 64) for _ in range(8)]),
       input_names=["idx", "position", *caches], output_names=["next", *results],
       dynamic_axes={n: {2: "past"} for n in caches} | {n: {2: "total"} for n in results})
