#!/usr/bin/env bash
# Runs what is beside it on a machine with an NVIDIA GPU, and writes a report: tests of every kernel, a memory check, then
# the workloads of bench/src/gpu.rs beside PyTorch's. The machine needs a driver, CUDA 13 libraries (those that PyTorch
# brings do) and python3 with torch; no Rust.
#
#   run-on-gpu.sh [OUT] [STEPS]     STEPS: some of `tests check bench`, all by default
set -u
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/report}
steps=${2:-tests check bench}
mkdir -p "$out"
python=${PYTHON:-python3}
libraries=$("$python" - <<'PY'
import importlib.util, pathlib
spec = importlib.util.find_spec("nvidia")
roots = list(spec.submodule_search_locations) if spec else []
print(":".join(str(p) for root in roots for p in sorted(pathlib.Path(root).glob("*/lib"))))
PY
)
export ESKER_CUDA_PATH=${ESKER_CUDA_PATH:-$libraries}
export ESKER_CUDA_CACHE=${ESKER_CUDA_CACHE:-$here/cache} ESKER_REQUIRE=cuda RUST_BACKTRACE=0
wants() { case " $steps " in *" $1 "*) return 0 ;; *) return 1 ;; esac; }
failed=0
if wants tests; then
    for name in cuda rows moves table; do
        timeout "${TEST_LIMIT:-240}" "$here/test-$name" --nocapture > "$out/test-$name.log" 2>&1 || failed=1
        grep -E "^test |test result|GPU|driver for" "$out/test-$name.log" | sort -u | tail -20
    done
fi
if wants check && command -v compute-sanitizer > /dev/null; then
    ESKER_ROWS=${CHECK_ROWS:-softmax,cross_entropy,sort,conv2d,scatter,layer_norm,sum,cumsum} timeout "${TEST_LIMIT:-240}" \
        compute-sanitizer --tool memcheck --error-exitcode 9 "$here/test-table" forward_agrees_with_the_cpu > "$out/memcheck.log" 2>&1 || failed=1
    tail -3 "$out/memcheck.log"
fi
if wants bench; then
    : > "$out/bench.jsonl"
    # In turns, family by family, so that both meet the GPU in the same state.
    families="gpu_add_1_ gpu_gemm gpu_gelu|gpu_add_128|gpu_cast gpu_copy|gpu_transpose|gpu_broadcast"
    families="$families gpu_softmax|gpu_sum|gpu_argmax|gpu_cumsum gpu_layernorm|gpu_xent"
    families="$families gpu_embedding|gpu_sort|gpu_randn|gpu_opt gpu_train"
    for family in ${FAMILIES:-$families}; do
        "$here/esker-bench" --gpu 0 --only "$family" --budget "${BUDGET:-0.3}" >> "$out/bench.jsonl" 2>> "$out/bench.log"
        "$python" "$here/bench_gpu_torch.py" --only "$family" --budget "${BUDGET:-0.3}" >> "$out/bench.jsonl" 2>> "$out/bench.log"
    done
    "$python" "$here/gpu_report.py" "$out/bench.jsonl" "$here/gpu_targets.json" > "$out/report.md"
    cat "$out/report.md"
    tail -5 "$out/bench.log"
fi
exit $failed
