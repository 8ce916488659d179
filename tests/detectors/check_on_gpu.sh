#!/usr/bin/env bash
# Everything about the detectors' training step that needs a GPU: that it waits for nothing, how fast it is beside
# torchvision's, compiled and captured, and where its time goes. The kernels' own checks: tests/ops/cuda/check_on_gpu.sh.
#
#     tests/detectors/check_on_gpu.sh [FOLDER FOR THE REPORT [STEP...]]
#
# The steps are device, tests, compilation, bench-step, bench-infer and profile; all of them if none is named. The
# longest one, which compiles in four ways, may take 9 minutes.
set -uo pipefail
cd "$(dirname "$0")/../.."
report=${1:-gpu-report}
python=${PYTHON:-python3}
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
only=" ${*:2} "
"$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2>/dev/null \
    || { echo "$0: $python has no torch that sees a GPU; run it on a machine with one, or set PYTHON" >&2; exit 1; }
mkdir -p "$report"
failed=0

step() { # step NAME SECONDS COMMAND...: runs a command, keeps its output in the report, and continues
    local name=$1 seconds=$2
    shift 2
    [ "$only" = "  " ] || [[ $only == *" $name "* ]] || return
    echo "--- $name"
    if ! timeout "$seconds" "$@" 2>&1 | tee "$report/$name.txt"; then
        echo "FAILED: $name"
        failed=1
    fi
}

size=(--device cuda --detector mask_rcnn --backbone resnet50 --batch_size 8 --height 800 --width 1344 --classes 80)
step device 20 nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv
step tests 300 "$python" -m pytest -q -m gpu tests/callbacks tests/detectors
step compilation 540 "$python" -m lightning_rcnn bench compilation "${size[@]}" --json "$report/compilation.json"
step bench-step 540 "$python" -m lightning_rcnn bench step "${size[@]}" --repeats 10 --compilation step --capture \
    --json "$report/step.json"
step bench-infer 400 "$python" -m lightning_rcnn bench infer "${size[@]}" --repeats 20 --json "$report/infer.json"
step profile 300 "$python" -m lightning_rcnn bench step "${size[@]}" --repeats 5 --profile --trace "$report/step_trace.json"
exit $failed
