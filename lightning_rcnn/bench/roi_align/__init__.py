"""RoIAlign against torchvision's `MultiScaleRoIAlign`, on the same pyramid and the same regions."""

from lightning_rcnn.bench.roi_align.contenders import Contender, cpu_contenders, cuda_contenders
from lightning_rcnn.bench.roi_align.timing import copy_bandwidth, time_contenders
from lightning_rcnn.bench.roi_align.workload import Workload

__all__ = ["Contender", "Workload", "copy_bandwidth", "cpu_contenders", "cuda_contenders", "time_contenders"]
