"""What is wrong in a configuration or on the command line gives one line that says where, and what was meant."""

from typing import get_args

import pytest
import torch
import yaml

from lightning_rcnn.backbones.resnet import ResNetName

BACKBONES = (
    "there are ResNetFPN, ResNetC4, ResNetDC5, PlainBackbone, MobileNetFPN, RegNetFPN, SwinFPN, TimmFPN, ViTDet, or "
    "give the class path of yours"
)
CHANNELS = "--model.init_args.backbone.init_args.channels"
NETWORKS = ", ".join(get_args(ResNetName))
NOT_A_NETWORK = f"'resnet19' is not one of {NETWORKS}; did you mean resnet18?"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "model:\n  init_args:\n    bakbone: resnet18",
            ":3: model.init_args.bakbone: FasterRCNN takes no bakbone; did you mean backbone?",
        ),
        ("model:\n  init_args: {foo: {}}", ":2: model.init_args.foo: FasterRCNN takes no foo"),
        ("model:\n  backbone: resnet18", f":2: model.init_args.backbone: no Backbone is called resnet18; {BACKBONES}"),
        (
            "model:\n  class_path: FasterRCN",
            ":2: model.class_path: no Detector is called FasterRCN; did you mean FasterRCNN?",
        ),
        ("model:\n  class_path: lightning_rcnn.Foo", ":2: model.class_path: lightning_rcnn has no Foo"),
        ("model:\n  class_path: lightning_rcnn.load", ":2: model.class_path: lightning_rcnn.load is not a class"),
        ("model: 3", ":1: model: '3' is no Detector"),
        (
            "model:\n  init_args: {backbone: {init_args: {name: resnet19}}}",
            f":2: model.init_args.backbone.init_args.name: {NOT_A_NETWORK}",
        ),
        (
            "model:\n  init_args:\n    preprocessing:\n      min_size: small",
            ":4: model.init_args.preprocessing.min_size: 'small' is not int",
        ),
        (
            "model:\n  init_args: {rpn: {pre_nms_top_n: 5}}",
            ":2: model.init_args.rpn.pre_nms_top_n: '5' is not list; write '[5]'",
        ),
        (
            "model:\n  init_args: {rpn: {anchors: {size: [5]}}}",
            ":2: model.init_args.rpn.anchors.size: AnchorSettings takes no size; did you mean sizes?",
        ),
        (
            "model:\n  init_args: {backbone: {class_path: ResNetFPM}}",
            ":2: model.init_args.backbone.class_path: no Backbone is called ResNetFPM; did you mean ResNetFPN?",
        ),
        (
            "model:\n  init_args: {optimizer: {class_path: RMSpro}}",
            ":2: model.init_args.optimizer.class_path: no Optimizer is called RMSpro; did you mean RMSprop?",
        ),
        ("trainer:\n  max_epoch: 3", ":2: trainer.max_epoch: no such key; did you mean trainer.max_epochs?"),
        ("trainer:\n  foo: {}", ":2: trainer.foo: no such key"),
        ("trainer:\n  max_epochs: many", ":2: trainer.max_epochs: 'many' is not int"),
        ("max_epochs: 3", ":1: max_epochs: no such key; did you mean trainer.max_epochs?"),
        ("trainr:\n  max_epochs: 3", ":1: trainr: no such key; did you mean trainer?"),
        ("trainer: 3", ":1: trainer: keys belong below it, not 3"),
        ("data:", ":1: data: keys belong below it, not None"),
        (
            "data: {batchsize: 3}",
            ":1: data.batchsize: no such key; did you mean data.batch_size (images of one device)?",
        ),
        (
            "data: {sampling: {class_path: RepeatFactr}}",
            ":1: data.sampling.class_path: no Sampling is called RepeatFactr; did you mean RepeatFactor?",
        ),
        (
            "data:\n  sampling: {class_path: RepeatFactor, init_args: {treshold: 1}}",
            ":2: data.sampling.init_args.treshold: RepeatFactor takes no treshold; did you mean threshold?",
        ),
        (
            "trainer:\n  logger: {class_path: CSVLoger}",
            ":2: trainer.logger.class_path: no Logger is called CSVLoger; did you mean CSVLogger?",
        ),
        (
            "trainer:\n  callbacks:\n  - class_path: EarlyStopping\n    init_args: {monitr: x}",
            ":2: trainer.callbacks.init_args.monitr: EarlyStopping takes no monitr; did you mean monitor?",
        ),
        (
            "data:\n  train_transforms:\n  - {class_path: HorizontalFlip, init_args: {p: often}}",
            ":2: data.train_transforms.p: 'often' is not float",
        ),
        ("seed_everything: soon", ":1: seed_everything: 'soon' is not bool or int"),
        (
            "last_checkpoint: {every_n_step: 3}",
            ":1: last_checkpoint.every_n_step: no such key; did you mean last_checkpoint.every_n_steps?",
        ),
    ],
)
def test_in_a_file(error_line, workplace, text, line):
    (workplace / "wrong.yaml").write_text(text)
    assert error_line("fit", "--config", "tiny.yaml", "--config", "wrong.yaml") == f"wrong.yaml{line}"


def test_what_torchvision_says_of_arguments_is_one_line(error_line, workplace, shards):
    """Its classes check their arguments themselves."""
    flip = "data: {train_transforms: [{class_path: torchvision.transforms.v2.RandomHorizontalFlip, init_args: {p: 2}}]}"
    (workplace / "wrong.yaml").write_text(flip)
    line = error_line("fit", "--config", "tiny.yaml", "--config", "wrong.yaml", "--data.train", shards / "train")
    assert line == "RandomHorizontalFlip: `p` should be a floating point value in the interval [0.0, 1.0]."


@pytest.mark.parametrize(
    ("text", "words", "line"),
    [
        ("", "--model.rpn.nms_iou 1.5", "--model.rpn.nms_iou: 1.5 is out of range; give 0 to 1"),
        ("", "--model.rpn.anchors.ratios=[1,0]", "--model.rpn.anchors.ratios[1]: 0.0 is out of range; give above 0"),
        ("", f"{CHANNELS} 0", f"{CHANNELS}: 0 is out of range"),
        ("rpn: {nms_iou: 1.5}", "", "top.yaml:2: model.init_args.rpn.nms_iou: 1.5 is out of range; give 0 to 1"),
        ("box: {head: {width: 0}}", "--model.box.nms_iou .5", "top.yaml:2: model.init_args.box.head.width: 0 is out"),
        ("", "--model.preprocessing.pixel_mean [1,1]", "--model.preprocessing.pixel_mean: 2 numbers for 3 channels"),
    ],
)
def test_a_setting_that_cannot_be_is_named_as_it_was_typed(error_line, workplace, shards, text, words, line):
    (workplace / "top.yaml").write_text(f"base: tiny.yaml\nmodel: {{init_args: {{{text}}}}}")
    found = error_line("fit", "--config", "top.yaml", "--data.train", shards / "train", *words.split())
    assert found.startswith(line)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("--model.bakbone resnet18", "--model.bakbone: no such option; did you mean --model.backbone?"),
        (
            "--model.init_args.backbone.init_args.name=resnet19",
            f"--model.init_args.backbone.init_args.name: {NOT_A_NETWORK}",
        ),
        ("--model.box.nms_iou much", "--model.box.nms_iou: 'much' is not float"),
        ("--model.box.nms_iuo .5", "--model.box.nms_iuo: no such option; did you mean --model.box.nms_iou?"),
        (
            "--model.backbone.chanels 3",
            "--model.backbone.chanels: no such option; did you mean --model.backbone.channels?",
        ),
        ("--model.rpn.nms .5", "--model.rpn.nms: no such option; did you mean --model.rpn.nms_iou?"),
        (
            "--model.schedule ReduceLROnPlateau",
            "--model.schedule: several classes are called ReduceLROnPlateau; give one of "
            "torch.optim.lr_scheduler.ReduceLROnPlateau, lightning.pytorch.cli.ReduceLROnPlateau",
        ),
        ("--model.schedule OneCycleLR", "tiny.yaml:2: model: OneCycleLR needs max_lr"),
        ("--trainer.callbacks EarlyStopping", "--trainer.callbacks: EarlyStopping needs monitor"),
        ("--model.optimizer sgd", "--model.optimizer: no Optimizer is called sgd; did you mean SGD?"),
        ("--model FasterRCN", "--model: no Detector is called FasterRCN; did you mean FasterRCNN?"),
        ("--model nowhere.Mine", "--model: nowhere.Mine cannot be imported (No module named 'nowhere')"),
        ("--model broken.Mine", "--model: broken.Mine cannot be imported (No module named 'nonexisting')"),
        (
            "--model failing.Mine",
            "--model: failing.Mine cannot be imported (FILE:1: NameError: name 'x' is not defined)",
        ),
        (
            "--model.backbone failing.Mine",
            "--model.backbone: failing.Mine cannot be imported (FILE:1: NameError: name 'x' is not defined)",
        ),
        ("--model.backbone ResNetFNP", "--model.backbone: no Backbone is called ResNetFNP; did you mean ResNetFPN?"),
        (
            "--model.backbone torch.nn.ReLU",
            "--model.backbone: torch.nn.ReLU is not a Backbone; derive it from lightning_rcnn.backbones.base.Backbone",
        ),
        ("--trainer.max_epoch 3", "--trainer.max_epoch: no such option; did you mean --trainer.max_epochs?"),
        ("--trainer.max_epochs many", "--trainer.max_epochs: 'many' is not int"),
        ("--max_epochs 3", "--max_epochs: no such option; did you mean --trainer.max_epochs?"),
        ("--data.seed 3", "--data.seed: no such option; did you mean --seed_everything?"),
        ("--data.batch_size 2.5", "--data.batch_size: '2.5' is not int"),
        ("--conf tiny.yaml", "--conf: no such option; did you mean --config?"),
        ("--config", "--config: the name of a configuration file is missing"),
        ("--config tyni.yaml", "tyni.yaml: no such configuration file; did you mean tiny.yaml?"),
        (
            "more.yaml",
            "more.yaml: nothing takes this argument; did you forget an option before it, for example --config?",
        ),
        (
            "--data.train_transforms HorizontalFlip",
            "--data.train_transforms: 'HorizontalFlip' is not list; write '[HorizontalFlip]'",
        ),
        (
            "--trainer.callbacks EarlyStoping",
            "--trainer.callbacks: no Callback is called EarlyStoping; did you mean EarlyStopping?",
        ),
    ],
)
def test_on_the_command_line(error_line, workplace, words, line):
    (workplace / "broken.py").write_text("import nonexisting")
    failing = workplace / "failing.py"
    failing.write_text("x")
    assert (
        error_line("fit", "--config", "tiny.yaml", *words.split()).replace(str(workplace / "failing.py"), "FILE")
        == line
    )


def test_a_data_set_whose_module_fails_is_one_line(error_line, workplace):
    (workplace / "failing.py").write_text("\nx")
    (workplace / "top.yaml").write_text("base: tiny.yaml\ndata:\n  train:\n    class_path: failing.Mine\n")
    line = error_line("fit", "--config", "top.yaml")
    assert line == (
        "top.yaml:4: data.train.class_path: failing.Mine cannot be imported "
        f"({workplace / 'failing.py'}:2: NameError: name 'x' is not defined)"
    )


def test_what_constructors_refuse(error_line, shards, monkeypatch):
    words = ("fit", "--config", "tiny.yaml", "--data.train", shards / "train")
    line = error_line(*words, "--model.rpn.anchors.sizes", "[1, 2]")
    assert line == "model.rpn.anchors: sizes: 5 levels need as many sizes, not 2"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    line = error_line(*words, "--trainer.accelerator", "gpu")
    assert line.startswith("trainer.accelerator: gpu, but PyTorch finds none on this machine; give auto or cpu")
    assert error_line(*words, "--trainer.strategy", "dpp").startswith("trainer: ")


def test_missing_data(error_line):
    assert error_line("fit", "--config", "tiny.yaml").startswith("no data to fit: give --data.train")
    assert error_line("fit", "--config", "tiny.yaml", "--data.train", "nowhere").startswith(
        "nowhere: no such file or folder"
    )


def test_a_class_replaces_the_usual_one_of_an_earlier_file(run, error_line, workplace):
    """`GIoULoss` has no `beta`, which the earlier file gives to the loss that stands there by default."""
    (workplace / "below.yaml").write_text("model: {class_path: FasterRCNN, init_args: {rpn: {box_loss: {beta: 0.0}}}}")
    above = "model: {class_path: FasterRCNN, init_args: {rpn: {box_loss: {class_path: GIoULoss, init_args: {%s}}}}}"
    words = ("fit", "--config", "tiny.yaml", "--config", "below.yaml", "--config", "above.yaml", "--print_config")
    (workplace / "above.yaml").write_text(above % "weight: 2.0")
    printed = yaml.safe_load(run(*words).out)["model"]["init_args"]["rpn"]["init_args"]["box_loss"]
    assert printed == {"class_path": "lightning_rcnn.box_losses.GIoULoss", "init_args": {"weight": 2.0}}
    (workplace / "above.yaml").write_text(above % "beta: 1.0")
    assert error_line(*words).endswith("box_loss.init_args.beta: GIoULoss takes no beta")


@pytest.mark.parametrize(
    ("key", "base", "derived"),
    [
        ("rpn.box_loss", "BoxLossSettings", "CIoULoss, DIoULoss, GIoULoss, SmoothL1Loss"),
        ("box.class_loss", "ClassLossSettings", "FederatedLoss, SoftmaxLoss"),
    ],
)
def test_a_base_of_settings_is_none(error_line, key, base, derived):
    line = error_line("fit", "--config", "tiny.yaml", f"--model.{key}", base)
    start, listed = line.split("give one of ")
    assert start == f"--model.{key}: {base} is a base of others; "
    assert set(derived.split(", ")) <= set(listed.split(", "))  # other tests may have imported losses of their own


def test_missing_model(error_line):
    assert error_line("fit").startswith("no model: give a configuration with --config FILE")


def test_help_on_a_part_needs_the_class_of_the_model_once(run, error_line):
    line = error_line("fit", "--model.rpn.help")
    assert line == "--model.rpn.help: of which model? Put its class before it: --model.help FasterRCNN --model.rpn.help"
    words = (("--model", "FasterRCNN"), ("--config", "tiny.yaml"), ("--model.help", "FasterRCNN"))
    shown = [run("fit", *before, "--model.rpn.help") for before in words]
    assert all(outcome.status == 0 and "--model.rpn.nms_iou" in outcome.out for outcome in shown)
    assert shown[0].out == shown[1].out == shown[2].out
