import pytest
import torch

from lightning_rcnn.backbones.c4 import ResNetC4
from lightning_rcnn.backbones.deformable import Deformable
from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.backbones.mobilenet import MobileNetFPN
from lightning_rcnn.detectors.faster_rcnn import FasterRCNN
from lightning_rcnn.detectors.loading import load_detector, save_detector
from lightning_rcnn.detectors.proposal_network import ProposalNetwork
from lightning_rcnn.detectors.proposing import RegionProposals
from lightning_rcnn.errors import InputError
from lightning_rcnn.parts import part
from lightning_rcnn.structures import ImageRecord, Inputs, Targets
from tests.seeded import seeded

BACKBONE = part(ResNetFPN, name="resnet18", channels=16)
RPN = {"pre_nms_top_n": [100, 50], "post_nms_top_n": [60, 40]}


def inputs():
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8, generator=generator)
    return Inputs(images, torch.tensor([[64, 96], [60, 80]]), torch.tensor([1, 2]))


def targets():
    boxes = torch.tensor([[[5.0, 5, 40, 40], [50, 10, 90, 60]], [[10, 10, 60, 50], [0, 0, 0, 0]]])
    return Targets(boxes, torch.tensor([[1, 1], [1, -1]]), torch.zeros(2, 2, dtype=torch.bool))


@pytest.fixture
def network():
    return seeded(ProposalNetwork, ["object"], backbone=BACKBONE, rpn=RPN).eval()


def test_it_is_the_first_two_stages_of_faster_rcnn(network):
    faster = FasterRCNN(["object"], backbone=BACKBONE, rpn=RPN, box={"head": {"width": 8}}).eval()
    missing = faster.load_state_dict(network.state_dict(), strict=False)
    assert not missing.unexpected_keys
    assert all(name.startswith("box.") for name in missing.missing_keys)
    found, theirs = network.loss_sums(inputs(), targets()), faster.loss_sums(inputs(), targets())
    assert set(found) == {"loss_objectness", "loss_rpn_box"} == set(network.loss_names)
    for name, loss in found.items():
        torch.testing.assert_close(loss.total, theirs[name].total)
    torch.testing.assert_close(network.predict(inputs())[1], faster.predict(inputs())[1])


def test_proposals_are_detections_of_one_class(network):
    detections, proposals = network.predict(inputs())
    is_valid = proposals.is_valid
    assert detections.boxes.shape == (2, 40, 4)
    assert (detections.labels == torch.where(is_valid, 1, -1)).all()
    torch.testing.assert_close(detections.scores[is_valid], proposals.scores[is_valid].sigmoid())
    at_once = network.evaluate(inputs(), targets())
    torch.testing.assert_close(at_once[0], detections)
    torch.testing.assert_close(
        at_once[2]["loss_rpn_box"].total, network.loss_sums(inputs(), targets())["loss_rpn_box"].total
    )


def test_validation_measures_recall(network):
    detections, proposals = network.predict(inputs())
    best = proposals.boxes[:, 0].tolist()
    objects = [{"label": 1, "bbox": box, "area": 1.0, "iscrowd": 0, "difficult": 0} for box in best]
    records = [ImageRecord(number, "x", 64, 96, [one]) for number, one in enumerate(objects)]
    network.evaluation.update(detections, proposals, records)
    assert network.evaluation.compute()["proposals"]["AR@100"] == pytest.approx(1.0)


def test_a_single_map_has_no_stage_of_regions(tmp_path):
    network = ProposalNetwork(["object"], backbone=part(ResNetC4, name="resnet18"), rpn=RPN)
    assert not any("layer4" in name for name in network.state_dict())
    save_detector(network, tmp_path / "rpn.ckpt")
    assert isinstance(load_detector(tmp_path / "rpn.ckpt"), ProposalNetwork)
    boxes = RegionProposals(tmp_path / "rpn.ckpt", limit=30)(torch.zeros(3, 60, 80, dtype=torch.uint8))
    assert boxes.shape[1] == 5


def test_several_classes_are_refused_with_the_way_out():
    with pytest.raises(InputError, match=r"has 2 classes, and proposals have none; pack .*--classes '\*=object'"):
        ProposalNetwork(["cat", "dog"], backbone=BACKBONE)


@pytest.mark.slow
@pytest.mark.parametrize(
    "backbone",
    [
        part(ResNetFPN, channels=16, deformable=Deformable(stages=(4,))),
        part(MobileNetFPN, name="mobilenet_v3_small", channels=16),
    ],
    ids=["deformable", "MobileNet"],
)
def test_a_step_is_one_graph(backbone):
    """Without a break, with the losses of eager, for new backbones, too."""
    torch._dynamo.reset()
    torch.manual_seed(0)
    anchors = {"levels": "all_sizes"} if "mobilenet" in backbone["class_path"] else {}
    network = ProposalNetwork(["object"], backbone=backbone, rpn={**RPN, "score_threshold": 0.01, "anchors": anchors})
    compiled = torch.compile(network.loss_sums, fullgraph=True, backend="eager")
    for step in range(2):
        network.sampling_seed.fill_(step)
        found, expected = compiled(inputs(), targets()), network.loss_sums(inputs(), targets())
        for name, loss in found.items():
            torch.testing.assert_close(loss.total, expected[name].total, rtol=1e-4, atol=1e-5)
