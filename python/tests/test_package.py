"""The package as a whole: import, threads, processes, names, stubs."""

import ast
import io
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest

import esker

PACKAGE = pathlib.Path(esker.__file__).parent


def python(code, **options):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, **options)


def test_import_is_quick_and_needs_no_numpy():
    # Processor time, so that a busy machine does not count; the best of five, since caches warm up.
    code = "import time, sys; t = time.process_time(); import esker; print(time.process_time() - t, 'numpy' in sys.modules)"
    seconds, numpy = zip(*(python(code).stdout.split() for _ in range(5)))
    assert min(map(float, seconds)) < 0.1 and set(numpy) == {"False"}


def test_fork_with_a_live_pool():
    code = """
import os, esker
esker.set_num_threads(2)
x = esker.ones(512, 512)
(x @ x).sum().item()
child = os.fork()
if child == 0:
    os._exit(0 if (x @ x)[0, 0].item() == 512 else 3)
assert os.waitpid(child, 0)[1] == 0 and (x @ x)[0, 0].item() == 512
print("fine")
"""
    assert python(code).stdout == "fine\n"


def test_control_c_stops_a_training_loop():
    # A parent that ignores the signal, as shells do for what they start in the background, hands that down.
    code = """
import signal
import esker
signal.signal(signal.SIGINT, signal.default_int_handler)
print("ready", flush=True)
x = esker.ones(64, 64)
while True:
    x = (x @ x) / 64
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.readline()
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert "KeyboardInterrupt" in errors


def test_other_threads_run_meanwhile():
    x, counted = esker.ones(1200, 1200), []
    stop = threading.Event()

    def count():
        n = 0
        while not stop.is_set():
            n += 1
            time.sleep(0)
        counted.append(n)

    counter = threading.Thread(target=count)
    counter.start()
    for _ in range(3):
        (x @ x).sum().item()
    stop.set()
    counter.join()
    assert counted[0] > 100


def test_every_error_class_is_what_python_users_catch():
    for name, base in {
        "ShapeError": ValueError,
        "DTypeError": TypeError,
        "DimError": IndexError,
        "OutOfMemoryError": MemoryError,
        "IoError": OSError,
        "FormatError": ValueError,
        "KernelError": RuntimeError,
        "AutogradError": RuntimeError,
        "CaptureError": RuntimeError,
        "DeviceError": RuntimeError,
        "UnavailableError": RuntimeError,
    }.items():
        assert issubclass(getattr(esker, name), base)
    with pytest.raises(RuntimeError, match="cuda:999 cannot be opened"):
        esker.zeros(2, device="cuda:999")


def test_the_stub_knows_every_function_and_method():
    tree = ast.parse((PACKAGE / "_esker.pyi").read_text())
    defined = {n.name for n in tree.body if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
    defined |= {n.target.id for n in tree.body if isinstance(n, ast.AnnAssign)}
    there = {n for n in dir(esker._esker) if not n.startswith("_")}
    assert there - defined == set()
    tensor = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Tensor")
    methods = {n.name for n in tensor.body if isinstance(n, ast.FunctionDef)}
    rows = {n for n in esker._esker._table if hasattr(esker.Tensor, n)}
    assert rows - methods == set()


def test_files_hold_no_code(tmp_path):
    path = tmp_path / "state.safetensors"
    esker.save({"x": esker.arange(3), "y": esker.ones(2, dtype=esker.bfloat16)}, path)
    state = esker.load(path)
    assert state["x"].tolist() == [0, 1, 2] and state["y"].dtype is esker.bfloat16
    import pickle

    path.write_bytes(pickle.dumps({"x": 1}))
    with pytest.raises(ValueError, match="safetensors"):
        esker.load(path)
    assert os.path.exists(path)


def test_checkpoints_come_back_as_they_went(tmp_path):
    net = esker.nn.Linear(2, 3)
    adam = esker.optim.AdamW(net.parameters(), lr=0.1, betas=(0.8, 0.9))
    net(esker.ones(1, 2)).sum().backward()
    adam.step()
    checkpoint = {
        "epoch": 3,
        "loss": [0.5, float("inf"), None, True, "a.b"],
        "model": net.state_dict(),
        "optimizer": adam.state_dict(),
        ("a", 1): esker.arange(2),
        "model.weight": esker.zeros(1),
    }
    for file in (tmp_path / "checkpoint.pt", io.BytesIO()):
        esker.save(checkpoint, file)
        if isinstance(file, io.BytesIO):
            file.seek(0)
        back = esker.load(file, map_location="cpu")
        assert list(back) == list(checkpoint) and back["epoch"] == 3 and back["loss"] == checkpoint["loss"]
        assert (back["model"]["weight"] == net.weight).all() and back["model.weight"].tolist() == [0]
        assert back["optimizer"]["param_groups"] == adam.state_dict()["param_groups"]
        assert back[("a", 1)].tolist() == [0, 1]
        esker.optim.AdamW(net.parameters()).load_state_dict(back["optimizer"])


def test_what_a_file_cannot_hold(tmp_path):
    path, ring = tmp_path / "x.pt", []
    ring.append(ring)
    with pytest.raises(TypeError, match=r"steps\.1 is function"):
        esker.save({"steps": [0, lambda x: x]}, path)
    with pytest.raises(ValueError, match="holds itself"):
        esker.save({"ring": ring}, path)
    assert not path.exists()
    for text in ["{", '{"tensor": "y"}', '{"list": 3}', '{"run": "x"}']:
        esker.save({"__structure__": esker.tensor(list(text.encode()), dtype=esker.uint8)}, path)
        with pytest.raises(ValueError, match="does not fit"):
            esker.load(path)


def test_devices_by_name():
    x = esker.ones(2)
    assert x.to("cpu") is x and x.to(esker.device("cpu"), esker.float64).dtype is esker.float64
    assert esker.cuda.is_available() == (esker.cuda.device_count() > 0)
    if not esker.cuda.is_available():
        with pytest.raises(RuntimeError, match="libcuda.so was not found|the driver knows|this machine has 0 GPUs|libnvrtc.so"):
            esker.cuda.synchronize()
    with pytest.raises(ValueError, match="is no GPU"):
        esker.cuda.memory_allocated("cpu")
    with pytest.raises(TypeError, match="a dtype, a device or a tensor, got dict"):
        x.to({})
