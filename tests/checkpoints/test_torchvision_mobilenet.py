"""torchvision's Faster R-CNNs on a MobileNet V3: their weights here find what they find there, and learn alike."""

import pytest
import torch
import torchvision.models.detection as torchvision_detection

from lightning_rcnn.backbones.mobilenet import MobileNetFPN
from lightning_rcnn.checkpoints.reading import WeightFile
from lightning_rcnn.checkpoints.torchvision import export, translate
from lightning_rcnn.detectors.loading import from_translation, load
from lightning_rcnn.errors import InputError
from lightning_rcnn.functional.boxes import rescale
from lightning_rcnn.plain_data import merge

MODELS = ("fasterrcnn_mobilenet_v3_large_fpn", "fasterrcnn_mobilenet_v3_large_320_fpn")


@pytest.fixture(scope="module", params=MODELS)
def pair(request, tmp_path_factory):
    """Ours and theirs, with norms that have seen noise."""
    torch.manual_seed(0)
    small = "_320_" in request.param
    options = {} if small else {"min_size": 256, "max_size": 512, "rpn_post_nms_top_n_test": 150}
    theirs = getattr(torchvision_detection, request.param)(
        weights=None,
        weights_backbone=None,
        num_classes=5,
        box_score_thresh=0.02,
        box_detections_per_img=1000,  # all: of near ties at a limit, either side may take another
        **options,
    )
    norms = [module for module in theirs.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # a mean over the passes: with .01, features would hardly depend on the image
    with torch.no_grad():
        for _ in range(5):
            theirs.backbone(torch.randn(2, 3, 128, 160))
        theirs.rpn.head.cls_logits.weight.mul_(20)
        theirs.rpn.head.cls_logits.bias.fill_(-2.5)  # so that the threshold of scores leaves some out
        theirs.roi_heads.box_predictor.cls_score.weight.mul_(30)
        theirs.roi_heads.box_predictor.bbox_pred.weight.mul_(10)
    path = tmp_path_factory.mktemp("there") / f"{request.param}-00000000.pth"
    translation = translate(WeightFile(path, theirs.state_dict()))
    sizes = {} if small else {"min_size": 256, "max_size": 512}
    settings = {
        "box": {"score_threshold": 0.02, "detections_per_image": 1000},
        "preprocessing": {**sizes, "memory_format": "contiguous"},
    }
    settings |= {} if small else {"rpn": {"post_nms_top_n": [2000, 150]}}
    translation.hyperparameters = merge(translation.hyperparameters, settings)
    return from_translation(translation).eval(), theirs.eval(), translation


def share_found(found, expected, labels, expected_labels):
    """Share of expected boxes that are found to a hundredth of a pixel, with their label."""
    both = [torch.cat((expected, 1e3 * expected_labels[:, None]), 1), torch.cat((found, 1e3 * labels[:, None]), 1)]
    return (torch.cdist(*both, p=torch.inf).amin(1) <= 1e-2).float().mean()


def test_they_find_the_same(pair):
    """All but a few: random weights tie scores, and either of two boxes may then suppress the other."""
    ours, theirs, _ = pair
    generator = torch.Generator().manual_seed(3)
    for size in ((200, 300), (320, 250)):
        # Noise of two sizes and nowhere clipped: in a plain area all anchors have one score.
        coarse = 0.2 + 0.4 * torch.rand((1, 3, 8, 8), generator=generator)
        fine = 0.2 * torch.rand((3, *size), generator=generator)
        image = ((torch.nn.functional.interpolate(coarse, size, mode="bicubic")[0] + fine).clamp(0, 1) * 255).byte()
        with torch.no_grad():
            (expected,) = theirs([image / 255])
            inputs = ours.preprocessing.batch([ours.preprocessing.resize(image)])
            detections, proposals = ours.predict(inputs)
            found = theirs.transform([image / 255])[0]
            (boxes,), _ = theirs.rpn(found, theirs.backbone(found.tensors))
        is_valid, is_found = proposals.is_valid[0], detections.labels[0] > 0
        assert 20 <= len(boxes) == is_valid.sum()
        no_labels = torch.zeros(len(boxes))
        assert share_found(proposals.boxes[0, is_valid], boxes, no_labels, no_labels) >= 0.97
        assert len(expected["boxes"]) >= 10
        assert abs(len(expected["boxes"]) - is_found.sum()) <= 0.03 * len(expected["boxes"])
        in_original = rescale(detections.boxes, inputs.image_sizes, torch.tensor([size]))[0, is_found]
        labels = detections.labels[0, is_found]
        assert share_found(in_original, expected["boxes"], labels, expected["labels"]) >= 0.97
        best = min(len(expected["scores"]), 10)
        torch.testing.assert_close(detections.scores[0, :best], expected["scores"][:best], atol=1e-4, rtol=0)


def test_settings_and_weights(pair):
    ours, theirs, translation = pair
    small = "320" in translation.source.name
    settings = ours.preprocessing.settings
    assert (settings.min_size, settings.max_size) == ((320, 640) if small else (256, 512))
    assert ours.rpn.settings.score_threshold == 0.05
    assert bool(translation.notes) == (not small)
    assert translation.unexpected == []
    back = export(WeightFile(translation.source, ours.state_dict()))
    state = theirs.state_dict()
    assert back.keys() == state.keys()
    is_background = ("box_predictor.bbox_pred.",)
    for name, value in back.items():
        rows = slice(4, None) if any(part in name for part in is_background) else slice(None)
        assert torch.equal(value[rows] if value.ndim else value, state[name][rows] if value.ndim else state[name]), name


def test_frozen_stages_are_those_of_their_blocks():
    network = MobileNetFPN("mobilenet_v3_small", frozen_stages=2, channels=8)
    trained = [any(one.requires_grad for one in block.parameters()) for block in network.body]
    assert trained.index(True) == 2  # the stem and the blocks before the second stage stay
    assert all(trained[2:])
    network.train()
    assert not network.body[0][1].training
    assert network.body[5].training
    with pytest.raises(InputError, match=r"frozen_stages 9: give 0 .* to 6"):
        MobileNetFPN(frozen_stages=9)


def test_loading_tells_what_the_file_does_not_record(pair, tmp_path, caplog):
    torch.save(pair[1].state_dict(), tmp_path / "mine.pth")
    with caplog.at_level("INFO"):
        load(tmp_path / "mine.pth")
    assert "mine.pth: Taken for fasterrcnn_mobilenet_v3_large_fpn; of the one for small images, keep" in caplog.text
