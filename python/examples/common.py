"""What the examples share: how training goes, and a trained module as an ONNX file."""

import pathlib

import esker

# The share of a smoothed loss that is made anew at each step, and how many lines a training prints.
NEWS = 0.02
LINES = 10
# How far the file's answers may be from the module's, relative to the larger of 1 and the answer.
TOLERANCE = 1e-4


class Progress:
    """Prints the losses' moving mean, ten times in a training."""

    def __init__(self, steps):
        self.steps, self.done, self.loss = steps, 0, None

    def step(self, loss):
        share = max(NEWS, 1 / (self.done + 1))  # The first steps are a plain mean.
        self.loss = loss if self.loss is None else self.loss + share * (loss - self.loss)
        self.done += 1
        if self.done * LINES // self.steps > (self.done - 1) * LINES // self.steps:
            print(f"step {self.done} of {self.steps}: loss {self.loss:.4f}", flush=True)


def ship(folder, name, module, inputs, doc):
    """Writes ``<folder>/<name>.onnx``, for any batch, and ``<folder>/holdout.safetensors``: ``inputs``, tensors by name, and
    what the module makes of them as ``output``. Then reads the file back, runs it without tape or module, and says how far its
    answers are from the module's.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    module.eval()
    path = folder / f"{name}.onnx"
    esker.onnx.export(module, tuple(inputs.values()), path, input_names=list(inputs), output_names=["output"], doc=doc)
    esker.save(module.state_dict(), folder / f"{name}.safetensors")
    with esker.no_grad():
        answers = module(*inputs.values())
    esker.save({**inputs, "output": answers}, folder / "holdout.safetensors")

    shipped = esker.onnx.load(path)(**inputs)
    away = (shipped - answers).abs()
    off = (away / answers.abs().clamp(min=1)).max().item()
    if not off <= TOLERANCE:
        raise SystemExit(f"{name}.onnx differs from the trained net by {off}, more than {TOLERANCE}")
    rows = len(next(iter(inputs.values())))
    print(
        f"{folder} holds {name}.onnx; read back, it differs from the trained net by at most "
        f"{away.max().item():.1e} on {rows} held-out rows"
    )
