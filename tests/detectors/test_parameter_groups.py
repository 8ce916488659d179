"""Parameter groups against rates computed by hand, with schedules and resumed trainings."""

from functools import partial

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger
from torch.optim import SGD
from torch.optim.lr_scheduler import OneCycleLR

from lightning_rcnn.backbones.base import Backbone
from lightning_rcnn.backbones.c4 import ResNetC4
from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.backbones.plain import PlainBackbone
from lightning_rcnn.data.datamodule import DetectionDataModule
from lightning_rcnn.data.pack.shapes import CLASS_NAMES, shapes_source
from lightning_rcnn.data.pack.write import write_shards
from lightning_rcnn.detectors.schedules import ConstantSchedule, CosineSchedule
from lightning_rcnn.errors import InputError
from lightning_rcnn.parts import part

RATE = 0.02
CONSTANT = part(ConstantSchedule, warmup_steps=0)


class OwnOptimizer(SGD):
    """Optimizer whose rate has another name."""

    def __init__(self, params: object, speed: float = 0.1) -> None:
        super().__init__(params, lr=speed)


def settings_by_name(detector):
    """(rate, weight decay) of each trainable parameter after torch has filled in what groups leave out."""
    optimizer = detector.optimizer(detector.parameter_groups())
    names = {id(parameter): name for name, parameter in detector.named_parameters()}
    return {
        names[id(parameter)]: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }


def test_by_default_only_norms_have_a_group_of_their_own(make_detector):
    detector = make_detector()
    all_else, norms = detector.parameter_groups()
    assert (all_else.keys(), norms.keys()) == ({"params"}, {"params", "weight_decay"})
    found = settings_by_name(detector)
    assert found.keys() == {name for name, parameter in detector.named_parameters() if parameter.requires_grad}
    assert found["backbone.body.conv1.weight"] == found["box.head.fc6.weight"] == (RATE, 1e-4)
    assert found["backbone.body.bn1.weight"] == found["backbone.body.layer4.1.bn2.bias"] == (RATE, 0.0)


def test_rates_of_the_layers_are_those_computed_by_hand(make_detector):
    """A ResNet-18 is a stem and eight blocks: the last block has 0.1 * 0.5, the stem 0.1 * 0.5**9."""
    detector = make_detector(
        parameter_groups={"backbone_lr_factor": 0.1, "layer_decay": 0.5, "norm_weight_decay": 0.01}
    )
    found = settings_by_name(detector)
    rates = {
        "backbone.body.layer4.1.conv1.weight": 1,
        "backbone.body.layer4.0.downsample.0.weight": 2,
        "backbone.body.layer3.1.conv2.weight": 3,
        "backbone.body.layer1.1.conv2.weight": 7,
        "backbone.body.layer1.0.conv2.weight": 8,
        "backbone.body.conv1.weight": 9,
    }
    for name, power in rates.items():
        assert found[name] == (pytest.approx(RATE * 0.1 * 0.5**power), 1e-4), name
    assert found["backbone.body.bn1.weight"] == (pytest.approx(RATE * 0.1 * 0.5**9), 0.01)
    # The pyramid and the heads learn at the optimizer's rate, which is logged: the first group has it.
    for name in ("backbone.fpn.inner_blocks.0.0.weight", "rpn.head.conv.weight", "box.head.fc6.weight"):
        assert found[name] == (RATE, 1e-4), name
    assert "lr" not in detector.parameter_groups()[0]
    assert found.keys() == settings_by_name(make_detector()).keys()


def test_a_factor_alone_is_one_rate_for_the_backbone(make_detector):
    detector = make_detector(parameter_groups={"backbone_lr_factor": 0.1})
    groups = detector.optimizer(detector.parameter_groups()).param_groups
    assert [group["lr"] for group in groups] == [RATE, RATE * 0.1, RATE * 0.1]
    detector.learning_rate = 1.0  # as Lightning's finder sets it
    groups = detector.optimizer(detector.parameter_groups()).param_groups
    assert [group["lr"] for group in groups] == [1.0, 0.1, 0.1]


class OneLayer(Backbone):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv2d(3, 4, 3, 16, 1)
        self.strides, self.out_channels = (16,), 4

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        return [self.convolution(images)]


@pytest.mark.parametrize(
    ("make", "numbers"),
    [
        (partial(ResNetFPN, "resnet50"), 17),
        (partial(ResNetC4, "resnet18"), 9),
        (partial(PlainBackbone, "alexnet"), 5),
        (partial(PlainBackbone, "vgg16"), 5),
        (OneLayer, 1),
    ],
    ids=["resnet50", "c4", "alexnet", "vgg16", "own"],
)
def test_layers_are_in_order_from_the_input(make, numbers):
    with torch.device("meta"):  # no values: they take seconds to draw, and 0.9 GB
        backbone = make()
    layers = backbone.layers()
    assert len(layers) == numbers
    order = [id(parameter) for layer in layers for parameter in layer.parameters()]
    own = {id(parameter): place for place, parameter in enumerate(backbone.parameters())}
    assert [own[parameter] for parameter in order] == sorted(own[parameter] for parameter in order)
    assert len(set(order)) == len(order)


def test_a_rate_of_its_own_needs_an_optimizer_that_has_one(make_detector):
    detector = make_detector(optimizer=part(OwnOptimizer), parameter_groups={"layer_decay": 0.5})
    with pytest.raises(InputError, match=r"model\.parameter_groups: the factors need a learning rate"):
        detector.parameter_groups()
    assert len(make_detector(optimizer=part(OwnOptimizer)).parameter_groups()) == 2


class Rates(Logger):
    """Keeps the learning rates that are logged, by step."""

    name = version = None

    def __init__(self) -> None:
        super().__init__()
        self.rates = []

    def log_metrics(self, metrics, step=None):
        self.rates += [(step, metrics["train/learning_rate"])] if "train/learning_rate" in metrics else []

    def log_hyperparams(self, *arguments, **keywords):
        pass


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("groups") / "shards"
    write_shards(shapes_source(8, seed=0), folder, name="shapes", workers=1)
    return str(folder)


@pytest.fixture
def fit(tmp_path, shards):
    def run(detector, ckpt_path=None, **options):
        trainer = Trainer(
            accelerator="cpu",
            enable_checkpointing=False,
            default_root_dir=tmp_path,
            enable_progress_bar=False,
            enable_model_summary=False,
            **{"logger": False, **options},
        )
        trainer.fit(detector, DetectionDataModule(shards, batch_size=2, num_workers=0), ckpt_path=ckpt_path)
        return trainer

    return run


def test_the_rate_is_logged_once_per_step_with_accumulation(make_detector, fit):
    logger = Rates()
    detector = make_detector(class_names=CLASS_NAMES, schedule=part(CosineSchedule, warmup_steps=0))
    fit(detector, logger=logger, max_epochs=2, accumulate_grad_batches=2, log_every_n_steps=1)
    # Four steps of two batches each; half a cosine: 1, (2 + sqrt 2) / 4, 1/2, (2 - sqrt 2) / 4.
    factors = (1, 0.853553, 0.5, 0.146447)
    assert logger.rates == [(step, pytest.approx(RATE * factor, rel=1e-5)) for step, factor in enumerate(factors)]


def test_groups_are_resumed_and_their_rates_are_those_of_the_run(make_detector, fit, tmp_path, caplog):

    def make(**groups):
        return make_detector(class_names=CLASS_NAMES, schedule=CONSTANT, parameter_groups=groups)

    path = tmp_path / "first.ckpt"
    fit(make(backbone_lr_factor=0.1), max_steps=1).save_checkpoint(path)
    with caplog.at_level("INFO"):
        trainer = fit(make(backbone_lr_factor=0.5), ckpt_path=path, max_steps=2)
    assert [group["lr"] for group in trainer.optimizers[0].param_groups] == [RATE, RATE * 0.5, RATE * 0.5]
    assert "not the checkpoint's: lr 0.002 -> 0.01." in caplog.text
    with pytest.raises(InputError, match=r"train the same layers with the same model.parameter_groups"):
        fit(make(), ckpt_path=path, max_steps=2)


def test_a_schedule_that_would_give_all_groups_one_rate_is_refused(make_detector, fit):
    options = {"class_names": CLASS_NAMES, "parameter_groups": {"backbone_lr_factor": 0.1}}
    with pytest.raises(InputError, match=r"^model.schedule: OneCycleLR sets one max_lr"):
        fit(make_detector(**options, schedule=part(OneCycleLR, max_lr=0.1)), max_steps=1)
    trainer = fit(make_detector(**options, schedule=part(OneCycleLR, max_lr=[0.1, 0.01, 0.01])), max_steps=1)
    assert [group["max_lr"] for group in trainer.optimizers[0].param_groups] == [0.1, 0.01, 0.01]
