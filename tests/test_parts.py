"""Recording of parts and settings, conversion to plain data and back, and refusal of invalid arguments."""

import copy
import functools
import gc
import importlib
import inspect
import pathlib
import pickle
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Literal

import numpy as np
import pytest
import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import nn
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR

from lightning_rcnn.backbones.base import Backbone
from lightning_rcnn.backbones.c4 import ResNetC4
from lightning_rcnn.backbones.dc5 import ResNetDC5
from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.backbones.plain import PlainBackbone
from lightning_rcnn.detectors.fast_rcnn import FastRCNN
from lightning_rcnn.detectors.faster_rcnn import FasterRCNN
from lightning_rcnn.detectors.loading import load_detector, save_detector
from lightning_rcnn.detectors.mask_rcnn import MaskRCNN
from lightning_rcnn.detectors.preprocessing import PreprocessingSettings
from lightning_rcnn.detectors.rcnn.box_regression import RCNNBoxRegression
from lightning_rcnn.detectors.rcnn.classification import RCNNClassification
from lightning_rcnn.detectors.rcnn.fine_tuning import RCNNFineTuning
from lightning_rcnn.detectors.rcnn.rcnn import RCNN
from lightning_rcnn.errors import InputError
from lightning_rcnn.parts import Part, Recorded, part
from lightning_rcnn.plain_data import (
    all_arguments,
    from_plain,
    import_class,
    merge,
    override,
    settings_keys,
    to_plain,
    without_weights,
)
from lightning_rcnn.roi_heads.box_branch import BoxBranch, BoxSettings
from lightning_rcnn.roi_heads.box_head import ConvolutionalHead, TwoLayerHead
from lightning_rcnn.roi_heads.mask_branch import MaskBranch, MaskSettings
from lightning_rcnn.roi_heads.pooler import PoolerSettings, RoIPooler
from lightning_rcnn.rpn.anchors import AnchorSettings
from lightning_rcnn.rpn.branch import RPN, RPNSettings
from lightning_rcnn.settings import Settings
from lightning_rcnn.settings_checks import Fraction
from tests.seeded import seeded

ALEXNET = part(PlainBackbone, name="alexnet")
RESNET = part(ResNetFPN, name="resnet18", channels=16)
HEAD = {"head": {"width": 16}}
_REGIONS = {"backbone": ALEXNET, "regions": {"size": 63, "context": 4, **HEAD}}
SMALL = {
    RCNN: _REGIONS,
    RCNNFineTuning: _REGIONS,
    RCNNClassification: _REGIONS,
    RCNNBoxRegression: _REGIONS,
    FastRCNN: {"backbone": ALEXNET, "box": HEAD},
    FasterRCNN: {"backbone": RESNET, "box": HEAD},
    MaskRCNN: {"backbone": RESNET, "box": HEAD, "mask": {"width": 16}},
}
PARTS = [ResNetFPN, ResNetC4, ResNetDC5, PlainBackbone, RPN, RoIPooler, BoxBranch, MaskBranch]


def small(of_class, **settings):
    return seeded(of_class, ["cat", "dog"], **merge(SMALL[of_class], settings))


def class_of(plain):
    """Import the class that plain data name, without the code under test."""
    module, _, name = plain["class_path"].rpartition(".")
    return getattr(importlib.import_module(module), name)


def defaults_of(of_class):
    """Defaults of an optimizer or a schedule, without what it steps."""
    parameters = list(inspect.signature(of_class).parameters.values())[1:]
    lists = {parameter.name: parameter.default for parameter in parameters if parameter.default is not parameter.empty}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in lists.items()}


def is_plain(value):
    if isinstance(value, dict):
        return all(type(key) is str and is_plain(item) for key, item in value.items())
    return all(map(is_plain, value)) if type(value) is list else value is None or type(value) in (bool, int, float, str)


def assert_all_is_recorded(of_class, init_args, key=""):
    """Every argument of a signature is there, and so are those of the parts among them."""
    signature = inspect.signature(of_class).parameters
    assert init_args.keys() == signature.keys(), key
    for name, parameter in signature.items():
        value = init_args[name]
        if isinstance(parameter.default, (Settings, Part)) or (isinstance(value, dict) and "class_path" in value):
            assert value.keys() == {"class_path", "init_args"}, f"{key}{name}"
            found = class_of(value)
            if issubclass(found, (Recorded, Settings)):
                assert_all_is_recorded(found, value["init_args"], f"{key}{name}.")
        elif parameter.annotation in (OptimizerCallable, LRSchedulerCallable):
            pytest.fail(f"{key}{name} {value} names no class")


@pytest.mark.parametrize("of_class", SMALL, ids=lambda of_class: of_class.__name__)
def test_a_detector_built_in_python_records_all_of_its_settings(of_class, tmp_path):
    detector = small(of_class)
    assert_all_is_recorded(of_class, detector.init_args)
    assert is_plain(detector.init_args)
    assert dict(detector.hparams) == detector.init_args
    # What was given is among them, and what was not is the default.
    assert detector.init_args["class_names"] == ["cat", "dog"]
    assert detector.init_args["parameter_groups"]["init_args"]["norm_weight_decay"] == 0.0
    assert detector.init_args["preprocessing"]["init_args"]["min_size"] == 800

    with torch.device("meta"):
        again = of_class(**detector.init_args)
    assert again.init_args == detector.init_args
    shapes = {name: value.shape for name, value in detector.state_dict().items()}
    assert {name: value.shape for name, value in again.state_dict().items()} == shapes

    save_detector(detector, tmp_path / "saved.ckpt")
    loaded = load_detector(tmp_path / "saved.ckpt")
    # The last stage of R-CNN leaves a whole R-CNN, which has all of its settings but those of the stage.
    left = RCNN if of_class is RCNNBoxRegression else of_class
    assert type(loaded) is left
    assert loaded.init_args == {name: detector.init_args[name] for name in inspect.signature(left).parameters}
    assert all(value.equal(detector.state_dict()[name]) for name, value in loaded.state_dict().items())


@pytest.mark.parametrize("of_class", SMALL, ids=lambda of_class: of_class.__name__)
def test_the_default_backbone_is_recorded_too(of_class):
    with torch.device("meta"):  # no memory for the weights of VGG16
        detector = of_class(["cat"])
    assert_all_is_recorded(of_class, detector.init_args)
    assert class_of(detector.init_args["backbone"]) is type(detector.backbone)


def test_a_checkpoint_is_what_it_was_also_when_defaults_have_changed(tmp_path, monkeypatch):
    torch.manual_seed(0)
    detector = FasterRCNN(["cat"], backbone=ResNetFPN("resnet18", channels=16), box=BoxSettings(head=TwoLayerHead(16)))
    save_detector(detector, tmp_path / "old.ckpt")
    for of_class in (RPNSettings, AnchorSettings, BoxSettings, PoolerSettings, PreprocessingSettings, TwoLayerHead):
        defaults = {field.name: field.default for field in fields(of_class)}
        factors = {int: 3, float: 0.5}  # shares stay between 0 and 1
        changed = {
            name: value * factors[type(value)] if type(value) in factors else value for name, value in defaults.items()
        }
        assert changed != defaults or of_class is AnchorSettings
        monkeypatch.setattr(of_class.__init__, "__defaults__", tuple(changed.values()))
    assert RPNSettings().samples_per_image == 3 * 256
    loaded = load_detector(tmp_path / "old.ckpt")
    assert loaded.rpn.settings == detector.rpn.settings
    assert loaded.rpn.settings.samples_per_image == 256
    assert loaded.box.settings == detector.box.settings
    assert loaded.pooler.settings == detector.pooler.settings
    assert loaded.preprocessing.settings == detector.preprocessing.settings


@pytest.mark.parametrize("of_class", [*SMALL, *PARTS], ids=lambda of_class: of_class.__name__)
def test_constructors_say_what_they_take(of_class):
    signature = inspect.signature(of_class)
    assert len(signature.parameters) <= 12
    for name, parameter in signature.parameters.items():
        assert parameter.kind is parameter.POSITIONAL_OR_KEYWORD, name
        assert parameter.annotation is not parameter.empty, name


class Inner(Part):
    def __init__(self, width: int = 3, weights: str | None = None) -> None:
        super().__init__()
        self.layer = nn.Linear(width, 1)


class Outer(Part):
    def __init__(self, inner: Inner | None = None, names: tuple[str, ...] = ("a", "b"), rate: float = 0.5) -> None:
        super().__init__()
        self.inner, self.names, self.rate, self.events = inner, names, rate, ["Outer"]

    def after_init(self) -> None:
        self.events.append("after_init")


class Narrow(Outer):
    """Class with its own constructor, which gives the base other arguments."""

    def __init__(self, rate: float, *, depth: int = 2) -> None:
        super().__init__(Inner(width=depth), rate=2 * rate)
        self.events.append("Narrow")


class Passing(Outer):
    """Passes unknown arguments on, as custom classes often do."""

    def __init__(self, depth: int = 2, **others: object) -> None:
        super().__init__(**others)
        self.depth = depth


class Same(Outer):
    """Class with the constructor of the base."""


class Without(Part):
    """Part without any constructor of its own."""


@dataclass(frozen=True)
class Leaf(Settings):
    size: int = 1


@dataclass(frozen=True)
class OtherLeaf(Leaf):
    color: str = "red"


@dataclass(frozen=True)
class Tree(Settings):
    leaf: Leaf = Leaf(2)
    pair: tuple[int, int] = (1, 2)
    leaves: tuple[Leaf, ...] = (Leaf(1), OtherLeaf(2))


def test_a_subclass_records_its_own_arguments_and_ends_when_its_constructor_ends():
    narrow = Narrow(1.5)
    assert narrow.init_args == {"rate": 1.5, "depth": 2}
    assert narrow.rate == 3.0
    assert narrow.events == ["Outer", "Narrow", "after_init"]
    assert narrow.inner.init_args == {"width": 2, "weights": None}
    passing = Passing(3, inner=Inner(7), rate=0.2)
    assert passing.init_args == {"depth": 3, "inner": to_plain(Inner(7)), "rate": 0.2}
    again = from_plain(to_plain(passing))
    assert (type(again), again.depth, again.inner.layer.in_features, again.rate) == (Passing, 3, 7, 0.2)
    with pytest.raises(InputError, match=r"^Passing takes no rat; did you mean rate\?$"):
        Passing(rat=1)
    same = Same(rate=0.1)
    assert same.init_args == {"inner": None, "names": ["a", "b"], "rate": 0.1}
    assert same.events == ["Outer", "after_init"]
    assert type(from_plain(to_plain(same))) is Same
    assert type(from_plain(to_plain(Without()))) is Without
    with pytest.raises(InputError, match=r"^Without takes no width"):
        Without(width=1)


def test_plain_data_become_the_same_thing():
    outer = Outer(Inner(width=5), names=["x", "y"])
    plain = to_plain(outer)
    path = f"{Outer.__module__}."
    assert plain == {
        "class_path": f"{path}Outer",
        "init_args": {
            "inner": {"class_path": f"{path}Inner", "init_args": {"width": 5, "weights": None}},
            "names": ["x", "y"],
            "rate": 0.5,
        },
    }
    again = from_plain(plain)
    assert (type(again), type(again.inner)) == (Outer, Inner)
    assert again.inner.layer.in_features == 5
    assert to_plain(again) == plain

    tree = Tree(leaf=OtherLeaf(3, "blue"), pair=[3, 4], leaves=[OtherLeaf(5), Leaf(6)])
    assert from_plain(to_plain(tree)) == tree
    assert is_plain(to_plain(tree))
    # Settings stay what they are: lists become tuples, so that they can be compared and hashed.
    assert tree.pair == (3, 4)
    assert tree.leaves == (OtherLeaf(5), Leaf(6))
    assert hash(tree) == hash(from_plain(to_plain(tree)))


def test_a_dictionary_changes_the_default_and_nothing_else():
    detector = small(FastRCNN, box={"nms_iou": 0.4})
    assert detector.box.settings.nms_iou == 0.4
    assert detector.box.settings.head == TwoLayerHead(width=16, dropout=0.5)  # the paper's dropout
    assert detector.box.settings.lowest_negative_iou == 0.1  # the paper's, too
    assert Tree(leaf={"size": 7}).leaf == Leaf(7)
    assert Tree(leaf=to_plain(OtherLeaf(7))).leaf == OtherLeaf(7)
    anchors = small(FasterRCNN, rpn={"anchors": {"order": "size_major"}}).rpn.settings.anchors
    assert anchors == replace(AnchorSettings(), order="size_major")


@pytest.mark.parametrize(
    ("optimizer", "schedule"),
    [
        (part(Adam, lr=0.5), part(CosineAnnealingLR, T_max=7)),
        (functools.partial(Adam, lr=0.5), functools.partial(CosineAnnealingLR, T_max=7)),
    ],
    ids=["plain", "partial"],
)
def test_optimizers_and_schedules_are_recorded_with_their_arguments(optimizer, schedule):
    detector = small(FasterRCNN, optimizer=optimizer, schedule=schedule)
    assert detector.init_args["optimizer"] == {
        "class_path": f"{Adam.__module__}.Adam",
        "init_args": {**defaults_of(Adam), "lr": 0.5},
    }
    assert detector.init_args["optimizer"]["init_args"]["betas"] == [0.9, 0.999]
    assert detector.init_args["schedule"]["init_args"] == {**defaults_of(CosineAnnealingLR), "T_max": 7}
    made = detector.optimizer(detector.parameters())
    assert (type(made), made.defaults["lr"]) == (Adam, 0.5)
    assert type(detector.schedule(made)) is CosineAnnealingLR
    again = FasterRCNN(**detector.init_args)
    assert again.init_args == detector.init_args
    assert type(again.optimizer(again.parameters())) is Adam


def test_numbers_of_numpy_are_recorded_as_pythons(tmp_path):
    detector = small(FasterRCNN, optimizer=part(SGD, lr=np.float64(0.1)), rpn={"nms_iou": np.float32(0.5)})
    assert type(detector.optimizer(detector.parameters()).defaults["lr"]) is float
    save_detector(detector, tmp_path / "numpy.ckpt")
    assert load_detector(tmp_path / "numpy.ckpt").init_args == detector.init_args


def test_a_learning_rate_that_is_set_is_recorded():
    """As Lightning's learning-rate finder sets it."""
    detector = small(FasterRCNN, optimizer=SGD)
    assert detector.learning_rate == inspect.signature(SGD).parameters["lr"].default
    detector.learning_rate = 0.5
    recorded = {**defaults_of(SGD), "lr": 0.5}
    assert detector.init_args["optimizer"]["init_args"] == detector.hparams["optimizer"]["init_args"] == recorded
    assert FasterRCNN(**detector.init_args).learning_rate == 0.5


def test_a_class_of_optimizers_is_one_without_arguments():
    detector = small(FasterRCNN, optimizer=SGD)
    assert detector.init_args["optimizer"] == {"class_path": f"{SGD.__module__}.SGD", "init_args": defaults_of(SGD)}


def test_defaults_that_are_not_plain_are_left_out():
    """A function as a default is not a setting, and a required argument has no default."""
    assert to_plain(WithFunction)["init_args"] == {"lr": 0.1}
    assert "lr_lambda" not in to_plain(LambdaLR)["init_args"]


class WithFunction(SGD):
    def __init__(self, params: object, lr: float = 0.1, rule: object = abs) -> None:
        super().__init__(params, lr=lr)


class Plain(nn.Module):
    """Module that is not a part, so its arguments are unknown."""


class WithAnything(FasterRCNN):
    def __init__(self, class_names: list[str], mask: object = None, **others: object) -> None:
        super().__init__(class_names, **others)


@pytest.mark.parametrize(
    ("argument", "name"),
    [
        ({"optimizer": lambda parameters: SGD(parameters, lr=1)}, "function"),
        ({"optimizer": functools.partial(dict, lr=1)}, "partial"),
        ({"schedule": functools.partial(print, 1)}, "partial"),
        ({"class_names": ["a"], "weights": None, "mask": {3: 4}}, "3"),
        ({"mask": torch.tensor(1)}, "Tensor"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_what_a_checkpoint_cannot_hold_is_refused_at_once(argument, name):
    with pytest.raises(InputError, match=rf"^{name} cannot be recorded in a checkpoint; [^\n]*$"):
        WithAnything(**{"class_names": ["a"], "backbone": RESNET, **argument})


@pytest.mark.parametrize(
    ("build", "line"),
    [
        (
            lambda: FasterRCNN(["a"], backbone="resnet18"),
            "FasterRCNN.backbone: 'resnet18' is not of class Backbone; give one, or",
        ),
        (lambda: FasterRCNN(["a"], backbone=None), "FasterRCNN.backbone: None is not of class Backbone; give one, or"),
        (
            lambda: FasterRCNN(["a"], backbone=Plain()),
            "FasterRCNN.backbone: Plain is not of class Backbone; give one, or",
        ),
        (lambda: RCNN(["a"], backbone=RESNET), "RCNN.backbone: ResNetFPN is not of class PlainBackbone; give one, or"),
        (lambda: small(FasterRCNN, rpn=3), "FasterRCNN.rpn: 3 is not of class RPNSettings; give one, or"),
        (
            lambda: small(FasterRCNN, rpn=BoxSettings()),
            "FasterRCNN.rpn: BoxSettings is not of class RPNSettings; give one, or",
        ),
        (
            lambda: small(FasterRCNN, box={"head": "conv"}),
            "BoxSettings.head: 'conv' is not of class BoxHeadSettings; give one, or",
        ),
        (
            lambda: small(FasterRCNN, schedule="cosine"),
            "FasterRCNN.schedule: 'cosine' is not a class with arguments; give",
        ),
        (lambda: small(FasterRCNN, optimizer=0.1), "FasterRCNN.optimizer: 0.1 is not a class with arguments; give"),
    ],
)
def test_an_argument_that_is_not_a_part_is_refused(build, line):
    with pytest.raises(InputError, match=f"^{line} [^\n]*$"):
        build()


@pytest.mark.parametrize(
    "path",
    [
        "subprocess.Popen",
        "os.system",
        "builtins.eval",
        "torch.nn.Linear",
        "lightning_rcnn.cli.main",
        "lightning_rcnn.parts.Any",
    ],
)
def test_a_file_cannot_name_what_is_neither_part_nor_settings(path, tmp_path):
    wanted = rf"^class_path {path}: neither a part, settings, an optimizer nor a schedule$"
    plain = {"class_path": path, "init_args": {"args": f"touch {tmp_path / 'was_here'}"}}
    for build in (
        lambda: import_class(path),
        lambda: from_plain(plain),
        lambda: from_plain([plain]),
        lambda: FasterRCNN(["a"], backbone=plain),  # before anything of it is built
        lambda: FasterRCNN(["a"], backbone=RESNET, optimizer=plain),
        lambda: FasterRCNN(["a"], backbone=RESNET, box={"head": plain}),
        lambda: list(settings_keys(FasterRCNN, {"backbone": plain})),
        lambda: all_arguments(FasterRCNN, {"backbone": plain}),
    ):
        with pytest.raises(InputError, match=wanted):
            build()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("nowhere.Foo", r"cannot be imported \(.*\)"),
        ("lightning_rcnn.parts.Foo", r"cannot be imported \(.*\)"),
        ("Foo", "is no path; name the module as well, .*"),
        ("", "is no path; name the module as well, .*"),
        (".Foo", "is no path; name the module as well, .*"),
    ],
)
def test_a_class_that_is_not_there_is_named(path, problem):
    with pytest.raises(InputError, match=rf"^class_path {path}: {problem}$"):
        import_class(path)


@pytest.mark.parametrize(
    ("build", "line"),
    [
        (lambda: ResNetFPN("resnet19"), "ResNetFPN.name: 'resnet19' is none of resnet18, resnet34"),
        (lambda: ResNetFPN(norm="layer"), "ResNetFPN.norm: 'layer' is none of"),
        (lambda: PreprocessingSettings(channel_order="BGR"), "PreprocessingSettings.channel_order: 'BGR' is none of"),
        (lambda: MaskSettings(norm="layer"), "MaskSettings.norm: 'layer' is none of"),
        (lambda: small(FasterRCNN, preprocessing={"channel_order": "BGR"}), "PreprocessingSettings.channel_order"),
        (lambda: small(FasterRCNN, rpn={"anchors": {"order": "size"}}), "AnchorSettings.order: 'size' is none of"),
        (
            lambda: small(FasterRCNN, box={"head": part(ConvolutionalHead, norm="layer")}),
            "ConvolutionalHead.norm: 'layer' is none of",
        ),
    ],
)  # fmt: skip
def test_unknown_names_are_refused(build, line):
    with pytest.raises(InputError, match=f"^{line}"):
        build()
    assert MaskSettings(norm=None).norm is None


@pytest.mark.parametrize(
    ("build", "owner", "wrong", "right"),
    [
        (lambda: small(FasterRCNN, preprocesing={}), "FasterRCNN", "preprocesing", "preprocessing"),
        (lambda: ResNetFPN(chanels=3), "ResNetFPN", "chanels", "channels"),
        (lambda: small(FasterRCNN, rpn={"nms_iuo": 0.5}), "RPNSettings", "nms_iuo", "nms_iou"),
        (lambda: small(FasterRCNN, rpn={"anchors": {"size": [1]}}), "AnchorSettings", "size", "sizes"),
        (lambda: small(FasterRCNN, box={"head": part(TwoLayerHead, widht=3)}), "TwoLayerHead", "widht", "width"),
        (lambda: FasterRCNN(["a"], backbone=part(ResNetFPN, chanels=3)), "ResNetFPN", "chanels", "channels"),
        (lambda: small(FasterRCNN, optimizer=part(SGD, weight_deca=1)), "SGD", "weight_deca", "weight_decay"),
        (lambda: small(FasterRCNN, optimizer=functools.partial(SGD, moment=1)), "SGD", "moment", "momentum"),
    ],
)
def test_misspelled_arguments_are_one_line_with_a_suggestion(build, owner, wrong, right):
    with pytest.raises(InputError) as caught:
        build()
    assert str(caught.value) == f"{owner} takes no {wrong}; did you mean {right}?"


SETTINGS_THAT_CANNOT_BE = [
    (lambda: RPNSettings(pre_nms_top_n=1000), "RPNSettings.pre_nms_top_n: 1000 is not a list of 2"),
    (lambda: RPNSettings(pre_nms_top_n=(1000,)), "RPNSettings.pre_nms_top_n: [1000] is not a list of 2"),
    (lambda: RPNSettings(pre_nms_top_n=(1000, 0)), "RPNSettings.pre_nms_top_n[1]: 0 is out of range; give 1 or more"),
    (lambda: RPNSettings(samples_per_image=-1), "RPNSettings.samples_per_image: -1 is out of range; give 1 or more"),
    (lambda: RPNSettings(positive_iou=1.5), "RPNSettings.positive_iou: 1.5 is out of range; give 0 to 1"),
    (lambda: RPNSettings(nms_iou=float("nan")), "RPNSettings.nms_iou: nan is out of range; give 0 to 1"),
    (lambda: RPNSettings(crowd_ioa="much"), "RPNSettings.crowd_ioa: 'much' is not a number"),
    (lambda: RPNSettings(crowd_ioa=2), "RPNSettings.crowd_ioa: 2 is out of range; give 0 to 1"),
    (lambda: RPNSettings(nms_iou=torch.tensor(0.5)), "RPNSettings.nms_iou: Tensor is not a number"),
    (lambda: AnchorSettings(sizes=32), "AnchorSettings.sizes: 32 is not a list; give one, such as [32]"),
    (lambda: AnchorSettings(sizes=["a"]), "AnchorSettings.sizes[0]: 'a' is not a number"),
    (lambda: AnchorSettings(sizes=()), "AnchorSettings.sizes: the list is empty; give at least one"),
    (lambda: AnchorSettings(ratios=(0,)), "AnchorSettings.ratios[0]: 0 is out of range; give above 0"),
    (lambda: BoxSettings(samples_per_image="many"), "BoxSettings.samples_per_image: 'many' is not a whole number"),
    (lambda: BoxSettings(samples_per_image=2.5), "BoxSettings.samples_per_image: 2.5 is not a whole number"),
    (lambda: BoxSettings(samples_per_image=True), "BoxSettings.samples_per_image: True is not a whole number"),
    (lambda: BoxSettings(class_weights=2.0), "BoxSettings.class_weights: 2.0 is not a list; give one, such as [2.0]"),
    (lambda: BoxSettings(class_weights=[1, -1]), "BoxSettings.class_weights[1]: -1 is out of range; give 0 or more"),
    (lambda: PoolerSettings(aligned="yes"), "PoolerSettings.aligned: 'yes' is neither true nor false"),
    (
        lambda: PreprocessingSettings(pixel_std=(1, 1, 0)),
        "PreprocessingSettings.pixel_std[2]: 0 is out of range; give above 0",
    ),
    (
        lambda: PreprocessingSettings(pixel_mean=(1, 1)),
        "PreprocessingSettings.pixel_mean: 2 numbers for 3 channels; give three, or one for each channel",
    ),
    (lambda: ResNetFPN("resnet18", channels="many"), "ResNetFPN.channels: 'many' is not a whole number"),
    (lambda: ResNetFPN("resnet18", weights=3), "ResNetFPN.weights: 3 is not a string"),
    (lambda: FasterRCNN([1], backbone=RESNET), "FasterRCNN.class_names[0]: 1 is not a string"),
    (lambda: Chosen(words=("a", "d")), "Chosen.words[1]: 'd' is none of a, b"),
    (lambda: Chosen(words="a"), "Chosen.words: 'a' is not a list; give one, such as ['a']"),
    (
        lambda: Chosen(leaves=(Leaf(), 3)),
        "Chosen.leaves[1]: 3 is not of class Leaf; give one, or its class_path and init_args",
    ),
    (lambda: Chosen(rates={"a": 1, "b": 2}), "Chosen.rates['b']: 2 is out of range; give 0 to 1"),
    (lambda: Chosen(rates=[1]), "Chosen.rates: [1] is not a dictionary"),
    (lambda: Chosen(number=False), "Chosen.number: False is none of 1, 2"),
]


@dataclass(frozen=True)
class Chosen(Settings):
    words: tuple[Literal["a", "b"], ...] = ("a",)
    leaves: "tuple[Leaf, ...]" = ()
    number: Literal[1, 2] | None = None
    unknown: pathlib.Path | None = None
    rates: dict[str, Fraction] | None = None


@pytest.mark.parametrize(("build", "line"), SETTINGS_THAT_CANNOT_BE, ids=[line for _, line in SETTINGS_THAT_CANNOT_BE])
def test_invalid_settings_are_one_line_with_class_and_field(build, line):
    with pytest.raises(InputError) as caught:
        build()
    assert str(caught.value) == line


def test_valid_settings_are_accepted():
    chosen = Chosen(words=["b", "a"], leaves=[Leaf(3), part(OtherLeaf)], unknown=pathlib.Path("a"), rates={"a": 0.5})
    assert Chosen(number=2).number == 2
    assert (chosen.words, chosen.leaves) == (("b", "a"), (Leaf(3), OtherLeaf()))
    assert RPNSettings(min_size=0, positive_iou=1, crowd_ioa=None, pre_nms_top_n=[3, 4]).pre_nms_top_n == (3, 4)
    assert PoolerSettings(canonical=(4, np.float32(56))).canonical == (4, 56.0)


class Listing(Part):
    def __init__(self, *layers: int) -> None:
        super().__init__()


class PassingAll(Inner):
    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)


class Nameless(Part):
    def __init__(self, width: int, /) -> None:
        super().__init__()


def test_arguments_without_a_name_are_refused():
    """The record could not pass them to the constructor again."""
    for build, line in ((lambda: Listing(1, 2), r"Listing: \*layers"), (lambda: Nameless(3), "Nameless: width")):
        with pytest.raises(InputError, match=f"^{line} takes arguments without a name, which cannot be recorded; "):
            build()
    with pytest.raises(InputError, match=r"^PassingAll: \*args takes arguments without a name"):
        PassingAll(5)
    passing = PassingAll(width=5)
    assert passing.init_args == {"width": 5}
    assert from_plain(to_plain(passing)).layer.in_features == 5


def test_a_backbone_belongs_to_one_detector():
    backbone = ResNetFPN("resnet18", channels=16)
    first = small(FasterRCNN, backbone=backbone)
    with pytest.raises(InputError, match=r"^MaskRCNN: this ResNetFPN belongs to another FasterRCNN already; build "):
        small(MaskRCNN, backbone=backbone)
    assert small(MaskRCNN, backbone=copy.deepcopy(backbone)).backbone is not first.backbone


def test_a_backbone_outlives_its_detector():
    backbone = ResNetFPN("resnet18", channels=16)
    small(FasterRCNN, backbone=backbone)
    gc.collect()
    assert small(MaskRCNN, backbone=backbone).backbone is backbone


def test_an_argument_that_is_missing_is_one_line():
    with pytest.raises(InputError, match=r"^Narrow: missing [^\n]*'rate'$"):
        Narrow()


def test_settings_are_merged():
    under = {"a": {"b": 1, "c": [1, 2]}, "d": 3}
    assert merge(under, {"a": {"c": [5]}, "e": {"f": 1}}) == {"a": {"b": 1, "c": [5]}, "d": 3, "e": {"f": 1}}
    assert merge(under, {"a": None}) == {"a": None, "d": 3}
    assert merge(3, {"a": 1}) == {"a": 1}
    assert under == {"a": {"b": 1, "c": [1, 2]}, "d": 3}


def test_arguments_of_another_class_do_not_stay():
    old = {"p": {"class_path": "a", "init_args": {"x": 1}}, "q": 2, "r": {"s": 3, "t": 4}}
    new = {"p": {"class_path": "b", "init_args": {"y": 2}}, "r": {"s": 5}}
    assert override(old, new) == {"p": new["p"], "q": 2, "r": {"s": 5, "t": 4}}
    same = {"p": {"class_path": "a", "init_args": {"y": 2}}}
    assert override(old, same)["p"] == {"class_path": "a", "init_args": {"x": 1, "y": 2}}


def test_keys_of_all_settings():
    keys = set(settings_keys(MaskRCNN, {"backbone": RESNET}))
    known = {"backbone", "backbone.channels", "rpn.anchors.sizes", "box.head.width", "mask.width", "optimizer.lr"}
    assert known <= keys
    assert not {"optimizer.params", "schedule.optimizer"} & keys
    assert {"schedule.T_max", "schedule.eta_min"} <= set(settings_keys(MaskRCNN, {"schedule": part(CosineAnnealingLR)}))
    assert "mask.width" not in set(settings_keys(FasterRCNN, {}))
    assert "backbone.channels" not in set(settings_keys(MaskRCNN, {"backbone": part(ResNetC4, name="resnet18")}))
    other_head = {"box": to_plain(BoxSettings(head=ConvolutionalHead()))}
    assert "box.head.num_layers" in set(settings_keys(FasterRCNN, other_head))


def test_all_arguments_are_those_of_the_detector_that_would_be_built():
    given = {"class_names": ["cat", "dog"], **SMALL[MaskRCNN], "rpn": {"anchors": {"order": "size_major"}}}
    detector = MaskRCNN(**given)
    # It builds no network, which would look for the weights.
    found = all_arguments(MaskRCNN, given | {"backbone": merge(RESNET, {"init_args": {"weights": "nowhere.pth"}})})
    assert found["backbone"]["init_args"].pop("weights") == "nowhere.pth"
    expected = copy.deepcopy(detector.init_args)
    del expected["backbone"]["init_args"]["weights"]
    assert found == expected


def test_weights_are_set_to_none_at_every_level():
    plain = {
        "weights": "a",
        "inner": {"init_args": {"weights": "b", "width": 3}},
        "list": [{"weights": "c"}, "weights"],
    }
    assert without_weights(plain) == {
        "weights": None,
        "inner": {"init_args": {"weights": None, "width": 3}},
        "list": [{"weights": None}, "weights"],
    }
    assert plain["weights"] == "a"


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))], ids=["copy", "pickle"])
@pytest.mark.parametrize(
    "of_class", [ResNetFPN, MaskRCNN, RCNNFineTuning, BoxSettings], ids=lambda of_class: of_class.__name__
)
def test_a_copy_is_the_same_and_independent(copied, of_class):
    if is_dataclass(of_class):
        settings = of_class(head=ConvolutionalHead(num_layers=2), nms_iou=0.3)
        assert copied(settings) == settings
        return
    original = small(of_class) if of_class in SMALL else of_class("resnet18", channels=16)
    found = copied(original)
    assert type(found) is of_class
    assert found.init_args == original.init_args
    before = {name: value.clone() for name, value in original.state_dict().items()}
    assert all(value.equal(before[name]) for name, value in found.state_dict().items())
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.add_(1)
    assert all(value.equal(before[name]) for name, value in original.state_dict().items())


class WithCounts(FasterRCNN):
    """A detector with a branch of its own, which exists only when the constructor of the base has ended."""

    class_layers = ("counts",)

    def __init__(
        self, class_names: list[str], backbone: Backbone, box: BoxSettings, weights: str | None = None
    ) -> None:
        super().__init__(class_names, backbone=backbone, box=box, weights=weights)
        self.counts = nn.Linear(16, len(class_names))
        self.scale = nn.Linear(16, 1)


def test_weights_are_loaded_when_the_whole_detector_exists(tmp_path):
    box = BoxSettings(head=TwoLayerHead(16))
    torch.manual_seed(1)
    first = WithCounts(["cat", "dog"], ResNetFPN("resnet18", channels=16), box)
    path = tmp_path / "first.ckpt"
    save_detector(first, path)

    torch.manual_seed(2)
    second = WithCounts(["cat", "dog"], ResNetFPN("resnet18", channels=16), box, weights=str(path))
    assert all(value.equal(first.state_dict()[name]) for name, value in second.state_dict().items())
    assert second.init_args["weights"] == str(path)

    # With other classes its own layer starts from initialization, as it says, and only that.
    torch.manual_seed(2)
    third = WithCounts(["a", "b", "c"], ResNetFPN("resnet18", channels=16), box, weights=str(path))
    assert third.scale.weight.equal(first.scale.weight)
    assert third.counts.weight.shape == (3, 16)

    # What is saved is whole: it asks for no other file.
    save_detector(second, tmp_path / "second.ckpt")
    path.unlink()
    loaded = load_detector(tmp_path / "second.ckpt")
    assert type(loaded) is WithCounts
    assert loaded.counts.weight.equal(first.counts.weight)
