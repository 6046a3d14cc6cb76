"""Compiles kernels for GPUs that need not be there, and looks at what became of them.

Every text must compile as it would at run time, and no kernel may spill registers. Elementwise kernels for the newest
architecture, and all kernels for the oldest, are sampled: every fourth, unless --all is given. Texts are files as the
emulating driver writes them when ESKER_CUDA_TEXTS names a folder: name, entry and `fused` or `rounded` in three comment
lines, then the source. What was fine is remembered in a second folder: with the same compiler it stays fine.

Usage: check_cuda.py FOLDER REMEMBERED [--all]
"""

import collections
import concurrent.futures
import ctypes
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import re
import sys
import zlib

OLDEST, NEWEST = "sm_80", "sm_90a"
SHOWN = 20


def library():
    """NVRTC, from its package."""
    global NVRTC
    folder = pathlib.Path(importlib.util.find_spec("nvidia.cu13").submodule_search_locations[0]) / "lib"
    # The compiler looks for its built-in functions by name alone.
    for file in sorted(folder.glob("libnvrtc-builtins.so*")):
        ctypes.CDLL(str(file), mode=ctypes.RTLD_GLOBAL)
    NVRTC = ctypes.CDLL(str(next(folder.glob("libnvrtc.so*"))))


def log_of(program):
    size = ctypes.c_size_t()
    NVRTC.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    text = ctypes.create_string_buffer(size.value)
    NVRTC.nvrtcGetProgramLog(program, text)
    return text.value.decode()


def compiled(source, name, fuse, architecture):
    """Whether it compiles, and what the compiler says."""
    program = ctypes.c_void_p()
    NVRTC.nvrtcCreateProgram(ctypes.byref(program), source.encode(), name.encode(), 0, None, None)
    options = [f"--gpu-architecture={architecture}", "--std=c++17", f"--fmad={fuse}".lower(), "--ptxas-options=-v"]
    array = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    result = NVRTC.nvrtcCompileProgram(program, len(options), array)
    log = log_of(program)
    NVRTC.nvrtcDestroyProgram(ctypes.byref(program))
    return result == 0, log


def remembered(path, folder):
    """The result of `check`, of an earlier run if it found nothing wrong."""
    compiler = importlib.metadata.version("nvidia-cuda-nvrtc")
    key = hashlib.sha256("\n".join((compiler, OLDEST, NEWEST, *sys.argv[3:], path.read_text())).encode()).hexdigest()
    known = folder / f"{key}.json"
    if known.exists():
        return json.loads(known.read_text())
    result = check(path)
    if not result[1]:
        part = known.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps(result))
        part.replace(known)
    return result


def check(path):
    """The kernel's name and what is wrong with it; and the numbers of registers and stack bytes, by architecture."""
    name, entry, fuse, source = path.read_text().split("\n", 3)
    name, wrong, numbers = f"{name[3:]} ({entry[3:]})", [], {}
    sampled = "--all" in sys.argv or zlib.crc32(source.encode()) % 4 == 0
    newest = sampled or not name.startswith("elementwise")
    for architecture in [NEWEST] * newest + [OLDEST] * sampled:
        fine, log = compiled(source, name, fuse == "// fused", architecture)
        if not fine:
            wrong.append(f"{architecture}: {log.strip()[:2000]}")
            continue
        kernels = log.split("Compiling entry function")[1:]
        if not kernels:
            wrong.append(f"{architecture}: the compiler says nothing of its kernels: {log.strip()[:500]}")
        for kernel in kernels:
            spilled = sum(map(int, re.findall(r"(\d+) bytes spill", kernel)))
            if spilled:
                wrong.append(f"{architecture}: {kernel.split()[0]} spills {spilled} bytes")
            registers, stack = (re.search(p, kernel) for p in (r"Used (\d+) registers", r"(\d+) bytes stack frame"))
            most = numbers.get(architecture, (0, 0))
            found = tuple(int(m[1]) if m else 0 for m in (registers, stack))
            numbers[architecture] = tuple(map(max, most, found))
    return name, wrong, numbers


def main(folder, memory):
    memory = pathlib.Path(memory)
    memory.mkdir(parents=True, exist_ok=True)
    paths = sorted(pathlib.Path(folder).glob("*.cu"))
    if not paths:
        sys.exit(f"no texts in {folder}")
    failures, stacks, most = [], collections.Counter(), collections.defaultdict(lambda: (0, ""))
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count(), initializer=library) as pool:
        for name, wrong, numbers in pool.map(remembered, paths, [memory] * len(paths), chunksize=8):
            failures += [f"{name}: {text}" for text in wrong]
            for architecture, (registers, stack) in numbers.items():
                most[architecture] = max(most[architecture], (registers, name))
                stacks[architecture] += stack > 0
    for architecture, (registers, name) in sorted(most.items()):
        print(f"{architecture}: at most {registers} registers ({name}); {stacks[architecture]} texts with a stack frame")
    print(f"{len(paths)} texts, {len(failures)} failures")
    if failures:
        sys.exit("\n".join(failures[:SHOWN]))


if __name__ == "__main__":
    main(*sys.argv[1:3])
