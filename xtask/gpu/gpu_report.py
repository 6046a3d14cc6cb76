"""Times of the GPU workloads side by side, as Markdown: gpu_report.py LINES.jsonl BARS.json

A bar is the least ratio of the peer's time to ours, or (`copy`) the least share of the copy rate measured in the same run."""
import datetime
import json
import pathlib
import subprocess
import sys

lines = [json.loads(line) for line in pathlib.Path(sys.argv[1]).read_text().splitlines() if line.startswith("{")]
bars = json.loads(pathlib.Path(sys.argv[2]).read_text())
smi = ["nvidia-smi", "--query-gpu=name,driver_version,clocks.max.sm", "--format=csv,noheader"]
try:
    machine = subprocess.run(smi, capture_output=True, text=True).stdout.strip()
except FileNotFoundError:
    machine = "unknown"
try:
    import torch

    versions = f"PyTorch {torch.__version__}, CUDA {torch.version.cuda}"
except ImportError:
    versions = "no PyTorch"
print(f"{datetime.date.today()}, {machine}; {versions}\n")
ours = {line["workload"]: line for line in lines if line["peer"] == "esker" and line.get("median_s")}
theirs = {line["workload"]: line for line in lines if line["peer"] == "torch" and line.get("median_s")}
copies = [line for line in [*ours.values(), *theirs.values()] if line["workload"].startswith("gpu_copy")]
copy = max((line["extra"].get("gbs", 0) for line in copies), default=0)
print(f"Copy rate: {copy:.0f} GB/s, the better of both.\n")
print("| workload | Esker | rate | PyTorch | ratio | bar | share of copy rate |\n|---|---|---|---|---|---|---|")
met = counted = 0
for name, line in ours.items():
    extra, other = line["extra"], theirs.get(name)
    rate = f"{extra['gflops'] / 1e3:.0f} TFLOP/s" if extra.get("gflops", 0) > 1e3 else f"{extra.get('gbs', 0):.0f} GB/s"
    ratio = other["median_s"] / line["median_s"] if other else None
    share = extra["gbs"] / copy if copy and extra.get("gbs") and not extra.get("gflops") else None
    bar = next((value for prefix, value in sorted(bars.items(), reverse=True) if name.startswith(prefix)), {})
    good = [ratio >= bar["torch"]] if "torch" in bar and ratio else []
    good += [share >= bar["copy"]] if "copy" in bar and share else []
    counted, met = counted + bool(good), met + (bool(good) and all(good))
    said = ", ".join(f"{key} {value}" for key, value in bar.items())
    cells = [name, f"{line['median_s'] * 1e6:.1f} us", rate, f"{other['median_s'] * 1e6:.1f} us" if other else "-",
             f"{ratio:.2f}" if ratio else "-", said + ("" if all(good) else " (missed)"), f"{share:.0%}" if share else "-"]
    print("| " + " | ".join(cells) + " |")
print(f"\n{met} of {counted} bars met")
