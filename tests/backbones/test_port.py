"""Custom backbones: valid ones are built, and others are refused with the detector."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from lightning_rcnn.backbones.base import Backbone, require_maps
from lightning_rcnn.backbones.c4 import ResNetC4
from lightning_rcnn.detectors.faster_rcnn import FasterRCNN
from lightning_rcnn.errors import InputError


class Maps(Backbone):
    """Backbone with maps of any strides; `says` and `channels` may be wrong."""

    def __init__(self, gives: list[int], says: list[int] | None = None, channels: int = 4) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 1)
        self.norm = nn.BatchNorm2d(4)
        self.dropout = nn.Dropout()
        self.gives, self.strides, self.out_channels = gives, tuple(says or gives), channels

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Maps [N, 4, ...]."""
        features = self.dropout(self.norm(self.convolution(images)))
        return [features[..., ::stride, ::stride] for stride in self.gives]


class Picky(Maps):
    """Reads values, which do not exist on the meta device."""

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Compute the maps of the base."""
        assert images.sum().item() != torch.inf
        return super().forward(images)


class Drawing(Maps):
    """Draws a number on the host, and has a buffer that is in no checkpoint."""

    def __init__(self, gives: list[int], says: list[int] | None = None) -> None:
        super().__init__(gives, says)
        self.register_buffer("shift", torch.zeros(1), persistent=False)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Compute the maps of the base."""
        torch.rand(1)
        return super().forward(images + self.shift)


class Lazy(Maps):
    """Backbone whose first images decide its shapes."""

    def __init__(self, gives: list[int]) -> None:
        super().__init__(gives)
        self.convolution = nn.LazyConv2d(4, 1)


def build(backbone: Backbone) -> FasterRCNN:
    anchors = {"sizes": [16 * 2**level for level in range(len(backbone.strides))]}
    return FasterRCNN(["a"], backbone=backbone, rpn={"anchors": anchors}, box={"head": {"width": 8}})


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (
            lambda: Maps([8, 16, 32], [8, 16]),
            "Maps: forward returns 3 maps; return a list with one for each of strides [8, 16]",
        ),
        (
            lambda: Maps([8], [8, 16]),
            "Maps: forward returns 1 maps; return a list with one for each of strides [8, 16]",
        ),
        (
            lambda: Maps([8, 8], [8, 16]),
            "Maps: for an image of 256 x 256 pixels the map of stride 16 has 32 rows; it should have about 16",
        ),
        (
            lambda: Maps([8], channels=5),
            "Maps: the map of stride 8 has 4 channels, and out_channels is 5",
        ),
        (
            lambda: Maps([8, 32]),
            "model.pooler: Maps has maps of strides [8, 32], and the level of a region is known only where each is "
            "twice the one before; choose others by its `roi_strides`",
        ),
        (
            lambda: Drawing([8, 16], [8]),
            "Drawing: forward returns 2 maps; return a list with one for each of strides [8]",
        ),
        (lambda: Maps([16, 8]), "Maps: strides [16, 8]: give them in ascending order, the finest map first"),
        (lambda: Maps([0]), "Maps: strides (0,): give whole numbers, one for each map, such as (8, 16)"),
        (lambda: Maps([8], channels=0), "Maps: out_channels 0: give one whole number, that of every map"),
        (lambda: Silent(), "Silent: `strides` is not set; set it to describe the feature maps"),
    ],
)
def test_a_backbone_whose_maps_do_not_fit_is_refused_when_the_detector_is_built(make, line):
    with pytest.raises(InputError) as caught:
        build(make())
    assert str(caught.value) == line


class Silent(Backbone):
    """Backbone that does not set `strides`."""

    def __init__(self) -> None:
        super().__init__()


class Coarse(Maps):
    """Backbone that pools from the first map alone, so that other strides may be any."""

    @property
    def roi_strides(self) -> tuple[int, ...]:
        """Stride of the first map."""
        return self.strides[:1]


@pytest.mark.parametrize(
    "backbone",
    [Maps([4, 8, 16]), Picky([8, 16]), Coarse([8, 24]), Drawing([8])],
    ids=["usual", "picky", "any", "draws"],
)
def test_a_valid_backbone_is_built_and_left_unchanged(backbone):
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    detector = build(backbone)
    state = torch.get_rng_state()
    require_maps(backbone)
    assert torch.get_rng_state().equal(state)
    assert detector.backbone.training
    assert all(value.equal(before[name]) for name, value in backbone.state_dict().items())
    assert detector.eval().detect(torch.zeros(3, 64, 64, dtype=torch.uint8))[0]["boxes"].shape[1] == 4


def test_a_backbone_that_is_not_initialized_yet_is_left_alone():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, of lazy modules
        detector = build(Lazy([8]))
    assert is_lazy(detector.backbone.convolution.weight)
    assert detector.eval().detect(torch.zeros(3, 64, 64, dtype=torch.uint8))[0]["boxes"].shape[1] == 4


def test_a_region_stage_that_was_handed_over_is_missed():
    backbone = ResNetC4("resnet18")
    with pytest.raises(InputError, match="BoxSettings takes no widht"):  # before anything of it is taken
        FasterRCNN(["a"], backbone=backbone, box={"widht": 3})
    with pytest.raises(InputError, match="class_weights has 2 entries"):
        FasterRCNN(["a"], backbone=backbone, box={"class_weights": [1, 2]})
    with pytest.raises(InputError, match=r"^ResNetC4: its last stage was handed over already; build another ResNetC4$"):
        FasterRCNN(["a"], backbone=backbone)
