import time

import pytest
import torch

from lightning_rcnn.backbones.plain import PlainBackbone
from lightning_rcnn.detectors.costs import cost_of_image
from lightning_rcnn.detectors.fast_rcnn import FastRCNN
from lightning_rcnn.detectors.rcnn.fine_tuning import RCNNFineTuning
from lightning_rcnn.parts import part

SMALL = {
    "class_names": ["a", "b"],
    "backbone": part(PlainBackbone, name="alexnet"),
    "preprocessing": {"min_size": 64, "max_size": 96},
    "proposals": {"limit": 20, "width": 96},
}


@pytest.fixture
def image():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (3, 64, 80), dtype=torch.uint8, generator=generator)


def test_r_cnn_has_a_pass_for_each_region_and_fast_r_cnn_one_for_the_image(image):
    rcnn = RCNNFineTuning(**SMALL, regions={"size": 63, "head": {"width": 16}}).eval()
    num_proposals = len(rcnn.search(image))
    assert 1 < num_proposals <= 20
    assert cost_of_image(rcnn, image).passes == num_proposals
    assert cost_of_image(FastRCNN(**SMALL, box={"head": {"width": 16}}).eval(), image).passes == 1


def test_time_goes_to_the_part_that_took_it(image, make_detector):
    faster = make_detector().eval()
    assert cost_of_image(faster, image).passes == 1
    usual = cost_of_image(faster, image)

    propose = faster.rpn.predict
    faster.rpn.predict = lambda *arguments: (time.sleep(0.5), propose(*arguments))[1]
    slow = cost_of_image(faster, image)
    assert slow.proposals >= 0.5
    assert slow.network + slow.heads < 0.5 + 10 * (usual.network + usual.heads)
    assert faster.rpn.predict is not propose  # as it was before

    fast = FastRCNN(**SMALL, box={"head": {"width": 16}}).eval()
    search = fast.search
    fast.search = lambda image: (time.sleep(0.5), search(image))[1]
    assert cost_of_image(fast, image).proposals >= 0.5


def test_timing_leaves_the_detector_unchanged(image, make_detector):
    faster = make_detector().eval()
    before = dict(vars(faster))
    cost_of_image(faster, image)
    assert vars(faster) == before
    assert not faster.backbone._forward_hooks
    assert not faster.backbone._forward_pre_hooks
