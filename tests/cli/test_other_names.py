"""Names of options in other tools lead to our option."""

import re

import pytest

from lightning_rcnn.cli.names_elsewhere import TABLE
from lightning_rcnn.cli.other_names import ours_for
from lightning_rcnn.detectors.faster_rcnn import FasterRCNN
from lightning_rcnn.plain_data import settings_keys

DEVICES = "did you mean --trainer.devices (with --trainer.accelerator gpu or cpu)?"
STRAY = "nothing takes this argument; did you forget an option before it"
TRAIN = "did you mean --data.train (a folder that `lightning-rcnn pack` wrote)?"
WEIGHTS = "did you mean --model.weights (--ckpt_path resumes a training)?"
RATE = "did you mean --model.optimizer.lr (for the global batch; model.parameter_groups.lr_rule adapts it)?"


def test_each_name_stands_for_one_thing():
    names = [name for row in TABLE for name in row.theirs.split()]
    assert len(names) == len(set(names)), sorted({name for name in names if names.count(name) > 1})
    assert all(name == name.lower() and "-" not in name for name in names)
    assert all(row.ours or row.advice for row in TABLE)


def test_what_the_table_names_is_there(run):
    shown = run("fit", "--help").out + run("fit", "--model.help", "FasterRCNN").out
    shown += run("detect", "--help").out + run("bench", "step", "--help").out
    shown += run("pack", "yolo", "--help").out
    shown += "--trainer.logger.project "  # of the default logger
    shown += "".join(f"--model.{key} " for key in settings_keys(FasterRCNN, {}))
    for row in TABLE:
        if row.ours:
            first, *_ = row.ours.split()
            assert re.search(rf"--{first}\b", shown), row


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("--lr 0.1", f"--lr: no such option; {RATE}"),
        ("-lr 0.1", f"-lr: no such option; {RATE}"),
        ("--learning-rate=0.1", f"--learning-rate: no such option; {RATE}"),
        ("--model.lr 0.1", f"--model.lr: no such option; {RATE}"),
        ("SOLVER.BASE_LR 0.1", f"SOLVER.BASE_LR: nothing takes this argument; {RATE}"),
        ("lr0=0.01", f"lr0: nothing takes this argument; {RATE}"),
        ("--epochs 3", "--epochs: no such option; did you mean --trainer.max_epochs?"),
        ("--trainer.epochs 3", "--trainer.epochs: no such option; did you mean --trainer.max_epochs?"),
        ("--trainer.max-epochs 3", "--trainer.max-epochs: no such option; did you mean --trainer.max_epochs?"),
        (
            "--optimizer sgd",
            "--optimizer: no such option; did you mean --model.optimizer (a class of torch.optim, such as AdamW)?",
        ),
        ("--num-gpus 2", f"--num-gpus: no such option; {DEVICES}"),
        ("--trainer.gpus 2", f"--trainer.gpus: no such option; {DEVICES}"),
        ("--batch-size 2", "--batch-size: no such option; did you mean --data.batch_size (images of one device)?"),
        ("--work-dir x", "--work-dir: no such option; did you mean --run_dir?"),
        ("--trainer.default_root_dir x", "--trainer.default_root_dir: no such option; did you mean --run_dir?"),
        ("--model.num_classes 3", "--model.num_classes: no such option; the classes come with the packed data"),
        ("--weights x", f"--weights: no such option; {WEIGHTS}"),
        ("--data x", f"--data: options belong below it; {TRAIN}"),
    ],
)
def test_options_of_other_tools(error_line, words, line):
    assert error_line("fit", "--config", "tiny.yaml", *words.split()) == line


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            "pack yolo set --names cat,dog",
            "--names: no such option; did you mean --class_names (names of the classes in the files)?",
        ),
        ("pack auto set --class_names cat,dog", "--class_names: no such option; did you mean --classes?"),
        ("pack voc --num-classes 2", "--num-classes: no such option; did you mean --classes?"),
        ("pack coco set/train.json", f"set/train.json: {STRAY}, for example --annotations?"),
        ("pack coco set --out x", f"set: {STRAY}, for example --images?"),
        ("pack voc VOC2007", f"VOC2007: {STRAY}, for example --root?"),
        ("detect photos", f"photos: {STRAY}, for example --images?"),
    ],
)
def test_options_of_commands_that_train_nothing(error_line, words, line):
    assert error_line(*words.split()).startswith(line)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("epochs: 3", ":1: epochs: no such key; did you mean trainer.max_epochs?"),
        (
            "model:\n  num_classes: 3",
            ":2: model.init_args.num_classes: FasterRCNN takes no num_classes; the classes come with the packed data",
        ),
        (
            "model:\n  init_args: {lr: 3}",
            ":2: model.init_args.lr: FasterRCNN takes no lr; did you mean model.init_args.optimizer.init_args.lr "
            "(for the global batch; model.parameter_groups.lr_rule adapts it)?",
        ),
    ],
)
def test_keys_of_other_tools(error_line, workplace, text, line):
    (workplace / "wrong.yaml").write_text(text)
    assert error_line("fit", "--config", "tiny.yaml", "--config", "wrong.yaml") == f"wrong.yaml{line}"


def test_tools_answer_with_their_own_options(error_line):
    assert error_line("detect", "--weights", "x").startswith("--weights: no such option; did you mean --checkpoint?")
    assert error_line("train").startswith("train: no such command; did you mean fit?")


def test_an_option_that_the_command_lacks_is_not_suggested():
    assert ours_for("--lr", ["--images"]) == ""
