"""What users bring: parts, detectors, optimizers and schedules of their own, by class path from the command line."""

import shutil
import sys
import warnings
from pathlib import Path

import pytest
import torch
import yaml
from torch.profiler import profile

from lightning_rcnn import FasterRCNN, MaskRCNN, load_detector, stop_signals
from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.bench.detectors import Scene
from lightning_rcnn.bench.detectors.parts import SPAN, spans_around_parts
from lightning_rcnn.compilation import compile_training, compiled_layers, undo_compilation
from lightning_rcnn.detectors.loading import save_detector
from lightning_rcnn.errors import InputError

PORTS = """
model:
  class_path: ports.TwoSpeeds
  init_args:
    preprocessing: {min_size: 64, max_size: 96}
    backbone:
      class_path: ports.TwoMaps
      init_args: {channels: 16}
    rpn:
      anchors: {sizes: [16, 48]}
      pre_nms_top_n: [50, 50]
      post_nms_top_n: [20, 20]
    box:
      class_path: ports.CascadeSettings
      init_args:
        head: {width: 16}
        second_iou: 0.65
    optimizer:
      class_path: torch.optim.Adam
      init_args: {lr: 1e-3}
    schedule:
      class_path: torch.optim.lr_scheduler.CosineAnnealingLR
      init_args: {T_max: 6}
trainer:
  max_epochs: 2
"""


@pytest.fixture
def outside(workplace):
    """The module `ports` beside the run, and nowhere else."""
    shutil.copy(Path(__file__).with_name("ports.py"), workplace / "ports.py")
    yield workplace
    sys.modules.pop("ports", None)


@pytest.fixture
def fit(run, outside, shards):
    """Runs `fit` into a folder, without validation unless it is wanted."""

    def run_fit(folder, *words, config="tiny.yaml"):
        data = ("--data.train", shards / "train", "--run_dir", folder)
        return run("fit", "--config", config, *data, *words)

    return run_fit


def last(folder):
    return torch.load(f"{folder}/checkpoints/last.ckpt", weights_only=True)


@pytest.mark.end_to_end
def test_a_detector_of_parts_from_outside_trains_resumes_and_loads(fit, run, error_line, outside, shards):
    """One test, because a run takes seconds: each step uses what the one before has left."""
    tiny = yaml.safe_load((outside / "tiny.yaml").read_text())
    ports = yaml.safe_load(PORTS)
    (outside / "ports.yaml").write_text(
        yaml.safe_dump(tiny | {"model": ports["model"], "trainer": tiny["trainer"] | ports["trainer"]})
    )

    outcome = fit("undisturbed", "--data.val", shards / "val", config="ports.yaml")
    assert outcome.status == 0, outcome.err
    stopped = fit(
        "stopped", "--data.val", shards / "val", "--trainer.callbacks", "ports.StopInSecondEpoch", config="ports.yaml"
    )
    assert stopped.status == 75, stopped.err
    assert last("stopped")["global_step"] == 4  # of six, in the middle of the second epoch
    stop_signals.forget()
    words = ("--data.val", shards / "val", "--ckpt_path", "last")
    assert fit("stopped", *words, config="ports.yaml").status == 0
    undisturbed, resumed = last("undisturbed"), last("stopped")
    assert undisturbed["global_step"] == resumed["global_step"] == 6
    assert resumed["state_dict"].keys() == undisturbed["state_dict"].keys()
    for name, value in undisturbed["state_dict"].items():
        assert value.equal(resumed["state_dict"][name]), name

    # The backbone has learned at its own speed.
    groups = resumed["optimizer_states"][0]["param_groups"]
    assert [group["initial_lr"] for group in groups] == [pytest.approx(1e-3), pytest.approx(1e-4)]
    assert all(group["lr"] < 1e-3 * group["initial_lr"] for group in groups)  # the end of the cosine

    # Both ways to load give the same detector, which needs no configuration.
    path = outside / "stopped" / "checkpoints" / "last.ckpt"
    loaded, same = load_detector(path), FasterRCNN.load_from_checkpoint(path)
    import ports

    assert type(loaded) is ports.TwoSpeeds
    assert type(loaded.backbone) is type(same.backbone) is ports.TwoMaps
    assert type(loaded.box) is type(same.box) is ports.Cascade
    assert loaded.box.second.settings.positive_iou == 0.65
    for detector in (loaded, same):
        assert all(value.equal(resumed["state_dict"][name]) for name, value in detector.state_dict().items())
    (found,) = loaded.detect(torch.zeros(3, 64, 80, dtype=torch.uint8), threshold=0.0)
    assert found["boxes"].shape[1] == 4
    quiet = ("--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false", "--data.num_workers", "0")
    assert run("validate", "--ckpt_path", path, "--data.val", shards / "val", *quiet).status == 0

    # A new training starts from these weights.
    words = ("--model.weights", path, "--model.optimizer.lr", "0", "--trainer.limit_train_batches", "1")
    outcome = fit("tuned", *words, "--trainer.max_epochs", "1", config="ports.yaml")
    assert outcome.status == 0, outcome.err
    tuned = last("tuned")["state_dict"]
    assert all(value.equal(tuned[name]) for name, value in resumed["state_dict"].items())

    # A misspelled setting of a part from outside is found like one of ours.
    line = error_line("fit", "--config", "ports.yaml", "--model.box.secnd_iou", "0.7")
    assert line == "--model.box.secnd_iou: no such option; did you mean --model.box.second_iou?"
    line = error_line("fit", "--config", "ports.yaml", "--model.backbone.chanels", "8")
    assert line == "--model.backbone.chanels: no such option; did you mean --model.backbone.channels?"


@pytest.fixture
def cascade(outside, monkeypatch):
    """A Mask R-CNN whose boxes come from the cascade."""
    monkeypatch.syspath_prepend(outside)
    import ports

    def make(class_names=("cat", "dog", "bird"), **settings):
        torch.manual_seed(0)
        return MaskRCNN(
            list(class_names),
            backbone=ports.TwoMaps(),
            rpn={"anchors": {"sizes": [16, 48]}, "pre_nms_top_n": [50, 50], "post_nms_top_n": [20, 20]},
            box=ports.CascadeSettings(head={"width": 16}, samples_per_image=16),
            mask={"width": 8, "num_layers": 1},
            preprocessing={"min_size": 64, "max_size": 96},
            **settings,
        )

    return make


@pytest.fixture
def scene():
    torch.manual_seed(0)
    scene = Scene.random(2, 64, 96, 3, 3)
    return scene.inputs(), scene.targets(with_masks=True)


def test_weights_for_other_classes_keep_all_but_the_predictors_of_both_branches(cascade, tmp_path):
    trained = cascade()
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(0.5)
    save_detector(trained, tmp_path / "trained.ckpt")
    tuned = cascade(["a", "b"], weights=str(tmp_path / "trained.ckpt"))
    before = trained.state_dict()
    new = {name.rpartition(".")[0] for name, value in tuned.state_dict().items() if not value.equal(before[name])}
    layers = ("class_logits", "box_deltas")
    assert new == {f"box.{branch}.predictor.{layer}" for branch in ("first", "second") for layer in layers} | {
        "mask.head.logits"
    }
    with pytest.raises(InputError, match="not of the model's architecture"):
        MaskRCNN(["a"], backbone=ResNetFPN("resnet18", channels=16), weights=str(tmp_path / "trained.ckpt"))


@pytest.mark.end_to_end
def test_parts_from_outside_are_compiled_and_profiled(cascade, scene):
    torch._dynamo.reset()
    detector, plain = cascade().train(), cascade().train()
    names = [name for name, _, _ in compiled_layers(detector)]
    assert set(names) == {"backbone", "rpn.head", "box.first.head", "box.second.head", "mask.head"}
    expected = plain.losses(*scene)
    assert {"loss_classifier", "loss_classifier_second", "loss_box_second", "loss_mask"} <= expected.keys()
    for scope, num_graphs in (("parts", 4), ("step", 1)):  # both heads of boxes are one program
        torch._dynamo.utils.counters.clear()
        compile_training(detector, scope, capture=False, backend="aot_eager")
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*cannot be compiled")
            torch.testing.assert_close(detector.losses(*scene), expected, rtol=1e-4, atol=1e-5)
        assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == num_graphs
        undo_compilation(detector)
    with profile() as profiler, spans_around_parts(detector):
        detector.losses(*scene)
    spans = {event.name.removeprefix(SPAN) for event in profiler.events() if event.name.startswith(SPAN)}
    assert {"backbone", "RPN", "proposals", "targets", "RoI pooling", "box head", "masks", "cascade"} <= spans
    torch._dynamo.reset()


def model(optimizer, schedule):
    """Words that set both."""
    words = [word for name, value in optimizer.items() for word in (f"--model.optimizer{name}", value)]
    return words + [word for name, value in schedule.items() for word in (f"--model.schedule{name}", value)]


@pytest.mark.end_to_end
def test_torchs_own_optimizers_and_schedules(fit, shards):
    sgd = {"": "torch.optim.SGD", ".lr": "0.01"}

    # The length of the training is filled in where a schedule wants it, and only the user's numbers are needed.
    one_cycle = {"": "torch.optim.lr_scheduler.OneCycleLR", ".max_lr": "0.01"}
    outcome = fit("one_cycle", *model({"": "torch.optim.Adam", ".lr": "0.01"}, one_cycle))
    assert outcome.status == 0, outcome.err
    state = last("one_cycle")
    assert state["lr_schedulers"][0]["total_steps"] == state["global_step"] == 3
    assert state["hyper_parameters"]["optimizer"]["class_path"].endswith(".Adam")
    assert "exp_avg_sq" in state["optimizer_states"][0]["state"][0]

    # By their short names, stepped after every step of the optimizer.
    outcome = fit("cosine", *model({"": "SGD", ".lr": "0.01"}, {"": "CosineAnnealingLR", ".T_max": "6"}))
    assert outcome.status == 0, outcome.err
    assert last("cosine")["optimizer_states"][0]["param_groups"][0]["lr"] == pytest.approx(0.005)

    # One that follows a metric is stepped once a validation, after the checkpoint. Here AP stays at 0, and after the
    # second validation it has enough.
    plateau = {"": "torch.optim.lr_scheduler.ReduceLROnPlateau", ".patience": "0", ".factor": "0.5", ".mode": "max"}
    words = ("--data.val", shards / "val", "--trainer.max_epochs", "3", "--trainer.limit_train_batches", "1")
    outcome = fit("plateau", *model(sgd, plateau), *words, "--model.box.score_threshold", "1")
    assert outcome.status == 0, outcome.err
    assert last("plateau")["optimizer_states"][0]["param_groups"][0]["lr"] == pytest.approx(0.005)


@pytest.mark.end_to_end
def test_a_schedule_of_a_metric_needs_validation(fit):
    plateau = {"": "torch.optim.lr_scheduler.ReduceLROnPlateau"}
    outcome = fit("plateau", *model({"": "SGD", ".lr": "0.01"}, plateau))
    assert outcome.status == 1
    (line,) = [line for line in outcome.err.splitlines() if line.startswith("lightning-rcnn: error: ")]
    assert "ReduceLROnPlateau" in line or "model.schedule" in line


TRANSFORMED = """
base: tiny.yaml
model:
  init_args:
    backbone:
      class_path: ports.TwoMaps
    rpn:
      anchors: {sizes: [16, 48]}
    optimizer:
      class_path: SGD
data:
  train_transforms:
  - class_path: torchvision.transforms.v2.RandomRotation
    init_args: {degrees: 10}
"""


@pytest.mark.end_to_end
def test_the_configuration_of_a_run_holds_what_was_given(fit, outside):
    """A class that replaces one of a base takes over what it knows; a number of any kind stays one."""
    (outside / "top.yaml").write_text(TRANSFORMED)
    outcome = fit("run", "--trainer.limit_train_batches", "1", config="top.yaml")
    assert outcome.status == 0, outcome.err
    content = yaml.safe_load((outside / "run" / "config.yaml").read_text())
    (transform,) = content["data"]["train_transforms"]
    assert transform["init_args"]["degrees"] == 10
    model = content["model"]["init_args"]
    assert model["backbone"] == {"class_path": "ports.TwoMaps", "init_args": {"channels": 16}}  # of tiny.yaml; no name
    assert model["optimizer"]["init_args"]["lr"] == 1e-4


@pytest.mark.end_to_end
def test_a_data_set_is_built_once(run, error_line, outside):
    data = "base: tiny.yaml\ndata:\n  train:\n    class_path: ports.Scenes\n    init_args: {num: 4, fails: %s}\n"
    (outside / "scenes.yaml").write_text(data % "false")
    assert run("fit", "--config", "scenes.yaml", "--run_dir", "run", "--trainer.max_steps", "1").status == 0
    assert sys.modules["ports"].Scenes.times_built == 1
    kept = yaml.safe_load((outside / "run" / "config.yaml").read_text())["data"]["train"]
    assert kept == {"class_path": "ports.Scenes", "init_args": {"num": 4, "fails": False}}
    assert last("run")["hyper_parameters"]["class_names"] == ["box"]
    (outside / "broken.yaml").write_text(data % "true")
    line = error_line("fit", "--config", "broken.yaml", "--run_dir", "other")
    assert line == "data.train: ports.Scenes: ValueError: no scenes"


def test_what_has_no_form_in_a_file_is_refused(fit, outside):
    """jsonargparse would write into config.yaml that it could not write."""
    blend = yaml.safe_dump({"data": {"train_transforms": [{"class_path": "ports.Blend", "init_args": {"share": 2}}]}})
    (outside / "blend.yaml").write_text(f"base: tiny.yaml\n{blend}")
    outcome = fit("run", config="blend.yaml")
    assert outcome.status == 1
    assert "config.yaml cannot hold share 2: take a class whose arguments are numbers" in outcome.err
    assert not (outside / "run" / "config.yaml").exists()
