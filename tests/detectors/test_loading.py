import pytest
import torch
from lightning.pytorch import Trainer

import lightning_rcnn
from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.checkpoints.header import read_header
from lightning_rcnn.detectors.loading import load_detector
from lightning_rcnn.errors import InputError
from lightning_rcnn.parts import part

SMALL = {
    "class_names": ["cat", "dog"],
    "category_ids": [17, 18],
    "backbone": part(ResNetFPN, name="resnet18", channels=16),
    "box": {"head": {"width": 16}},
}


@pytest.fixture(scope="module")
def detector():
    torch.manual_seed(0)
    return lightning_rcnn.FasterRCNN(**SMALL)


@pytest.fixture
def checkpoint(detector, tmp_path):
    """As a program writes it, without the command line."""
    trainer = Trainer(logger=False, accelerator="cpu", enable_progress_bar=False, enable_model_summary=False)
    trainer.strategy.connect(detector)
    trainer.save_checkpoint(tmp_path / "a.ckpt", weights_only=True)
    return tmp_path / "a.ckpt"


def test_the_file_alone_gives_the_detector_back(detector, checkpoint):
    loaded = load_detector(checkpoint)
    assert isinstance(loaded, lightning_rcnn.FasterRCNN)
    assert not loaded.training
    assert (loaded.class_names, loaded.category_ids) == (["cat", "dog"], [17, 18])
    for key, value in detector.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key


def test_the_header_has_class_and_hyperparameters(checkpoint):
    header = read_header(checkpoint)
    assert header.class_path == "lightning_rcnn.detectors.faster_rcnn.FasterRCNN"
    assert header.hyperparameters["backbone"]["init_args"]["channels"] == 16


def test_pretrained_weights_are_not_asked_for_again(checkpoint):
    """A checkpoint of a run that started from ImageNet weights has its own."""
    state = torch.load(checkpoint, weights_only=True)
    torch.save(lightning_rcnn.FasterRCNN(**SMALL).backbone.body.state_dict(), checkpoint.with_name("resnet18.pth"))
    backbone = ResNetFPN("resnet18", weights=str(checkpoint.with_name("resnet18.pth")), channels=16)
    model = lightning_rcnn.FasterRCNN(**SMALL | {"backbone": backbone})
    assert model.hparams["backbone"]["init_args"]["weights"] is not None
    saved = {}
    model.on_save_checkpoint(saved)
    assert saved["hyper_parameters"]["backbone"]["init_args"]["weights"] is None
    assert state["class_path"] == saved["class_path"]


def change(checkpoint, **changes):
    torch.save(torch.load(checkpoint, weights_only=True) | changes, checkpoint)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"class_path": "nowhere.Detector"}, "its model nowhere.Detector: cannot be imported"),
        ({"class_path": "lightning_rcnn.detectors.faster_rcnn.Gone"}, "cannot be imported"),
        ({"class_path": "Detector"}, "its model Detector: is no path"),
        ({"class_path": 3}, "not a checkpoint of lightning-rcnn"),
        ({"hyper_parameters": [3]}, "not a checkpoint of lightning-rcnn"),
        ({"class_path": "torch.nn.Linear"}, "its model torch.nn.Linear is not a detector"),
        (
            {"hyper_parameters": SMALL | {"anchors_per_cell": 3}},
            "its settings are not those of FasterRCNN of this",
        ),
        ({"state_dict": {}}, "its weights do not fit FasterRCNN of this version"),
    ],
)
def test_checkpoints_that_cannot_be_used(checkpoint, changes, problem):
    change(checkpoint, **changes)
    with pytest.raises(InputError, match=problem) as caught:
        load_detector(checkpoint)
    assert str(caught.value).startswith(f"{checkpoint}: ")
    assert "\n" not in str(caught.value)


def test_files_that_are_not_checkpoints(checkpoint, tmp_path):
    with pytest.raises(InputError, match="no such checkpoint"):
        read_header(tmp_path / "missing.ckpt")
    torch.save({"weights": torch.zeros(3)}, tmp_path / "other.ckpt")
    with pytest.raises(InputError, match="not a checkpoint of lightning-rcnn"):
        read_header(tmp_path / "other.ckpt")
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1000])
    with pytest.raises(InputError, match="the end of the file is missing"):
        read_header(checkpoint)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (lightning_rcnn.Detector, "Detector takes no backbone"),
        (lightning_rcnn.MaskRCNN, "only the model has mask."),
        (lightning_rcnn.ProposalNetwork, "ProposalNetwork takes no pooler"),
    ],
)
def test_lightnings_way_of_loading_names_ours_where_the_class_is_another(checkpoint, wrong, reason):
    with pytest.raises(InputError) as caught:
        wrong.load_from_checkpoint(checkpoint)
    line = str(caught.value)
    assert line.startswith(f"{checkpoint}: cannot be loaded as {wrong.__name__} ({reason}")
    assert "lightning_rcnn.load_detector takes the class from the file" in line


def test_an_instance_is_not_loaded_into(detector, checkpoint):
    """Lightning refuses it, too: the weights of the instance would not change."""
    with pytest.raises(TypeError, match="cannot be called on an instance"):
        detector.load_from_checkpoint(checkpoint)
