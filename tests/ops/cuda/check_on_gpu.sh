#!/usr/bin/env bash
# Everything about the kernels that needs a GPU, in one call of less than ten minutes: the tests, the benchmarks, and
# the memory and race checkers where the machine has them.
#
#     tests/ops/cuda/check_on_gpu.sh [FOLDER FOR THE REPORT]
set -uo pipefail
cd "$(dirname "$0")/../../.."
report=${1:-gpu-report}
python=${PYTHON:-python3}
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
"$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2>/dev/null \
    || { echo "$0: $python has no torch that sees a GPU; run it on a machine with one, or set PYTHON" >&2; exit 1; }
mkdir -p "$report"
failed=0

step() { # step NAME SECONDS COMMAND...: runs a command, keeps its output in the report, and continues
    local name=$1 seconds=$2
    shift 2
    echo "--- $name"
    if ! timeout "$seconds" "$@" 2>&1 | tee "$report/$name.txt"; then
        echo "FAILED: $name"
        failed=1
    fi
}

step device 20 nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv
step tests 240 "$python" -m pytest -q -m gpu tests/ops
step bench 150 "$python" -m lightning_rcnn bench roi-align --device cuda --json "$report/bench.json"
step masks-pool-and-suppression 90 "$python" -m lightning_rcnn bench operators --device cuda \
    --json "$report/operators.json"

checker=$(command -v compute-sanitizer || true)
if [ -n "$checker" ] && "$checker" --error-exitcode 1 true >/dev/null 2>&1; then
    # Without torch's cache every tensor is an allocation of its own, whose bounds the checker knows.
    export PYTORCH_NO_CUDA_MEMORY_CACHING=1
    for tool in memcheck racecheck; do
        step "$tool" 80 "$checker" --tool "$tool" --error-exitcode 1 \
            "$python" tests/ops/cuda/host/random_cases.py cuda 0 10
    done
else
    echo "--- no compute-sanitizer that runs here: memory and race checks skipped"
fi
exit $failed
