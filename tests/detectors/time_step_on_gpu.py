"""A training step of Mask R-CNN R50-FPN on a GPU: whether it waits for the GPU, how fast it is, compiled and captured.

python tests/detectors/time_step_on_gpu.py [BATCH SIZE] [HEIGHT] [WIDTH]: for each way to run it, ten steps in which any
wait for the GPU is an error, then the median of 30 steps under bf16 and the memory.
"""

import statistics
import sys
import time
import warnings

import torch

from lightning_rcnn.bench.detectors import Architecture, Scene
from lightning_rcnn.bench.detectors.contenders import training_step
from lightning_rcnn.compilation import compile_training

WAYS = {"as written": None, "parts compiled": ("parts", False), "parts captured": ("parts", True)}
WAYS |= {"step compiled": ("step", False), "step captured": ("step", True)}
STEPS = 30


def main(batch_size=8, height=800, width=1344):
    """All ways, one after the other; a way that fails is shown and the next one tried."""
    device = torch.device("cuda")
    torch.backends.cudnn.benchmark = True
    failed = []
    # What cannot be compiled runs as it is after a warning, which would be another way than its name says.
    warnings.filterwarnings("error", message=".*(nothing is captured|runs as it is)")
    for name, way in WAYS.items():
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
        try:
            print(f"{name}: {figures(way, batch_size, height, width, device)}", flush=True)
        except Exception as error:
            print(f"{name}: FAILED with {type(error).__name__}: {error}", flush=True)
            failed.append(name)
        if skipped := torch._dynamo.utils.counters["inductor"]["cudagraph_skips"]:
            print(f"{name}: FAILED: {skipped} graphs were not captured", flush=True)
            failed.append(name)
    sys.exit(bool(failed))


def figures(way, batch_size, height, width, device):
    """Runs one way; returns what to print of it."""
    torch.manual_seed(0)
    architecture = Architecture("mask_rcnn", "resnet50", 80, min(height, width), max(height, width))
    detector = architecture.ours().to(device).to(memory_format=torch.channels_last).train()
    scene = Scene.random(batch_size, height, width, 12, 80).to(device)
    inputs, targets = scene.inputs(), scene.targets(with_masks=True)
    if way is not None:
        compile_training(detector, *way)

    def losses():
        detector.sampling_seed.add_(1)
        return detector.losses(inputs, targets)

    step = training_step(detector, losses, "bfloat16", device)
    start = time.perf_counter()
    for _ in range(5):
        step()
    torch.cuda.synchronize()
    warm_up = time.perf_counter() - start
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(10):
            step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(STEPS):
        torch.cuda.synchronize()
        start = time.perf_counter()
        step()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    median = statistics.median(seconds)
    return (
        f"no wait in ten steps; {1e3 * median:.1f} ms ({1e3 * min(seconds):.1f} to {1e3 * max(seconds):.1f}), "
        f"{batch_size / median:.1f} images/s, {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB, "
        f"first five steps {warm_up:.0f} s"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
