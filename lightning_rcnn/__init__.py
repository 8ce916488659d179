"""lightning-rcnn: region-based detectors on PyTorch Lightning."""

__version__ = "0.1.0"
