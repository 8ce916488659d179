"""Base of backbones with a feature pyramid (Feature Pyramid Networks, arXiv 1612.03144, section 4.1)."""

from lightning_rcnn.backbones.base import Backbone


class PyramidBackbone(Backbone):
    """A backbone whose last map subsamples the one before, P6 of P2 to P6, and serves the RPN only."""

    @property
    def roi_strides(self) -> tuple[int, ...]:
        """Strides of all levels but the last one."""
        return self.strides[:-1]
