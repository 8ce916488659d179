"""A program that pools through NVRTC and the real bindings with a driver on the host, and checks the result."""

import contextlib
from types import SimpleNamespace

import torch
import torchvision.ops

from lightning_rcnn.ops.cpu.pixel_weights import Grid
from lightning_rcnn.ops.cuda import operations
from lightning_rcnn.ops.cuda.operations import LevelRule

torch.cuda.get_device_capability = lambda device: (9, 0)
torch.cuda.current_stream = lambda device: SimpleNamespace(cuda_stream=0)
torch.cuda.device = lambda device: contextlib.nullcontext()

feature = torch.randn(2, 3, 9, 11)
rois = torch.tensor([[0, 1.0, 1.0, 6.0, 7.0], [1, 0.0, 0.0, 30.0, 30.0]])
pooled = operations.roi_align([feature], rois, None, [1.0], Grid((3, 3), 2, False), LevelRule(4, 224.0))
torch.testing.assert_close(pooled, torchvision.ops.roi_align(feature, rois, 3, 1.0, 2))

try:
    operations.launcher.launch(
        "transpose", operations.roi_kernels(torch.float32, 1), (1, 65536), operations.TransposeParams(), feature.device
    )
except RuntimeError as error:
    print(error)
