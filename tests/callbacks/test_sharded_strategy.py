"""Trainings whose weights are sharded over ranks, beside the same ones under DDP."""

import errno
import io
import json
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import EMAWeightAveraging
from lightning.pytorch.strategies import ModelParallelStrategy
from torch.distributed.tensor import DTensor

from lightning_rcnn.backbones.vitdet import ViTDet
from lightning_rcnn.callbacks.background_checkpoints import BackgroundCheckpointIO
from lightning_rcnn.callbacks.checkpoints import AtomicCheckpointIO, LastCheckpoint
from lightning_rcnn.callbacks.compilation import Compilation
from lightning_rcnn.callbacks.ema import EMA
from lightning_rcnn.callbacks.sharded_strategy import ShardedStrategy
from lightning_rcnn.callbacks.sharding_check import check_sharding
from lightning_rcnn.checkpoints.reading import read_content
from lightning_rcnn.checkpoints.split import FOLDER_KEY, PartsWriter, is_split, joined, possible_folders
from lightning_rcnn.cli import main
from lightning_rcnn.data.datamodule import DetectionDataModule
from lightning_rcnn.data.loading import LoadingSettings
from lightning_rcnn.data.pack.shapes import CLASS_NAMES, shapes_source
from lightning_rcnn.data.pack.write import write_shards
from lightning_rcnn.detectors.faster_rcnn import FasterRCNN
from lightning_rcnn.detectors.loading import load_detector
from lightning_rcnn.detectors.tiles_and_views import TilesAndViews
from lightning_rcnn.errors import InputError
from lightning_rcnn.parts import part

STEPS = 20
GLOBAL_BATCH = 6


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sharded")
    write_shards(shapes_source(GLOBAL_BATCH * STEPS // 2, seed=0), folder / "train", name="shapes", workers=1)
    write_shards(shapes_source(4, seed=1), folder / "val", name="shapes", workers=1)
    return folder


def make_detector(num_frozen=2):
    torch.manual_seed(0)
    detector = FasterRCNN(
        class_names=CLASS_NAMES,
        backbone=ViTDet("tiny", channels=16, image_size=64, pretrained_size=64, drop_path=0.0),
        rpn={"pre_nms_top_n": [50, 50], "post_nms_top_n": [20, 20]},
        box={"head": {"width": 32}, "samples_per_image": 16},
        preprocessing={"min_size": 48, "max_size": 64},
        optimizer=part(torch.optim.AdamW, lr=1e-3, weight_decay=0.1),
        schedule=part(torch.optim.lr_scheduler.ConstantLR, factor=1.0),
        parameter_groups={"layer_decay": 0.9},
    )
    for layer in detector.backbone.layers()[:num_frozen]:
        layer.requires_grad_(False)
    return detector


class Recording(Callback):
    """Writes what each step and validation logs, and how much of the first block this rank holds."""

    def __init__(self, path):
        self.path, self.steps, self.held = path, {}, 1.0

    def on_train_batch_end(self, trainer, detector, outputs, batch, batch_idx):
        own = {name: value for name, value in trainer.logged_metrics.items() if name.startswith("train/")}
        self.steps[trainer.global_step] = {name: float(trainer.strategy.reduce(own[name])) for name in sorted(own)}
        weight = detector.backbone.net.blocks[3].attn.qkv.weight
        self.held = weight.to_local().numel() / weight.numel() if isinstance(weight, DTensor) else 1.0

    def on_train_end(self, trainer, detector):
        if trainer.is_global_zero:
            val = {key: value.item() for key, value in trainer.callback_metrics.items() if key.startswith("val/loss")}
            self.path.write_text(json.dumps({"steps": self.steps, "val": val, "held": self.held}))


@pytest.fixture
def fit(shards, tmp_path, run_ranks):
    """Trains with `world` ranks until `max_steps`, and reads what was recorded."""

    def run(
        name,
        strategy,
        world=2,
        max_steps=STEPS,
        ckpt_path=None,
        ema=True,
        clip=0.5,
        algorithm="norm",
        writer=AtomicCheckpointIO,
    ):
        folder = tmp_path / name

        def fit_rank(rank):
            seed_everything(0, verbose=False)
            trainer = Trainer(
                default_root_dir=folder,
                devices=world,
                strategy=strategy(),
                max_epochs=2,
                max_steps=max_steps,
                accelerator="cpu",
                callbacks=[
                    *([EMA(decay=0.9)] if ema else []),
                    LastCheckpoint(every_n_steps=5),
                    Recording(tmp_path / f"{name}.json"),
                ],
                plugins=[writer()],
                gradient_clip_val=clip,
                gradient_clip_algorithm=algorithm,
                logger=False,
                log_every_n_steps=1,
                num_sanity_val_steps=1,
                enable_progress_bar=False,
                enable_model_summary=False,
                use_distributed_sampler=False,
            )
            data = DetectionDataModule(
                train=str(shards / "train"),
                val=str(shards / "val"),
                batch_size=GLOBAL_BATCH // world,
                num_workers=0,
                loading=LoadingSettings(),
            )
            trainer.fit(make_detector(), datamodule=data, ckpt_path=ckpt_path)

        endings = run_ranks(fit_rank, world, timeout=400)
        assert [ending.status for ending in endings] == [0] * world, [ending.errors[-2000:] for ending in endings]
        return folder / "checkpoints" / "last.ckpt", json.loads((tmp_path / f"{name}.json").read_text())

    return run


def require_same(found, expected, steps):
    for step in steps:
        assert found["steps"][str(step)] == pytest.approx(expected["steps"][str(step)], abs=1e-5, rel=1e-5), step


def require_same_content(path, other):
    """Weights, averages and optimizer states of two checkpoints, the second of them under DDP."""
    found, expected = joined(read_content(path), path), read_content(other)
    assert found.keys() == expected.keys()
    for key in ("state_dict", "current_model_state"):
        assert found[key].keys() == expected[key].keys()
        for name, value in expected[key].items():
            torch.testing.assert_close(found[key][name], value, atol=2e-5, rtol=1e-4, msg=f"{key} {name}")
    ours, theirs = found["optimizer_states"][0], expected["optimizer_states"][0]
    assert ours["param_groups"] == theirs["param_groups"]
    assert ours["state"].keys() == theirs["state"].keys()
    for number, state in theirs["state"].items():
        for name, value in state.items():
            torch.testing.assert_close(ours["state"][number][name], value, atol=2e-5, rtol=1e-3, msg=f"{number} {name}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("splits", "others"),
    [(False, [(1, "sharded"), (3, "sharded")]), (True, [(3, "sharded"), (1, "ddp"), (2, "sharded")])],
)
def test_losses_are_those_of_ddp_and_a_training_resumes_on_other_numbers_of_ranks(fit, splits, others):
    expected_path, expected = fit("ddp", lambda: "ddp")
    strategies = {"ddp": lambda: "ddp", "sharded": partial(ShardedStrategy, split_checkpoints=splits)}
    path, found = fit("sharded", strategies["sharded"], writer=BackgroundCheckpointIO if splits else AtomicCheckpointIO)
    assert (found["held"], expected["held"]) == (0.5, 1.0)
    require_same(found, expected, range(1, STEPS + 1))
    assert found["val"] == pytest.approx(expected["val"], abs=1e-5)
    assert is_split(read_content(path)) == splits
    require_same_content(path, expected_path)

    half, _ = fit("half", strategies["sharded"], max_steps=7)
    for world, kind in others:
        _, resumed = fit(f"resumed-{world}", strategies[kind], world=world, ckpt_path=half, max_steps=12)
        require_same(resumed, expected, range(8, 13))
    if not splits:
        half_ddp, _ = fit("half-ddp", strategies["ddp"], max_steps=7)
        _, resumed = fit("back", strategies["sharded"], ckpt_path=half_ddp, max_steps=12)
        require_same(resumed, expected, range(8, 13))


@pytest.mark.slow
def test_what_a_split_checkpoint_is_good_for(fit, shards, tmp_path, capsys):
    path, _ = fit("split", partial(ShardedStrategy, split_checkpoints=True), max_steps=7)
    folders = [found.name for found in path.parent.iterdir() if found.is_dir()]
    assert folders == [read_content(path)["tensors_in"]]
    averages = joined(read_content(path), path)["state_dict"]
    for name, weight in load_detector(path).state_dict().items():
        assert weight.equal(averages[name]), name
    assert main(["convert", str(path), "--out", str(tmp_path / "whole.ckpt")]) == 0
    assert not is_split(read_content(tmp_path / "whole.ckpt"))
    assert main(["convert", str(path), "--to", "detectron2", "--out", str(tmp_path / "theirs.pth")]) in (0, 1)
    _, resumed = fit("resumed", lambda: "ddp", ckpt_path=tmp_path / "whole.ckpt", max_steps=9)
    assert {"8", "9"} == resumed["steps"].keys()


@pytest.mark.slow
def test_gradients_are_clipped_by_value(fit):
    _, expected = fit("ddp", lambda: "ddp", max_steps=4, ema=False, clip=0.01, algorithm="value")
    _, found = fit("sharded", ShardedStrategy, max_steps=4, ema=False, clip=0.01, algorithm="value")
    require_same(found, expected, range(1, 5))


def test_a_checkpoint_with_parts_on_other_nodes_is_refused_and_the_one_before_stays(tmp_path):
    strategy, path = ShardedStrategy(split_checkpoints=True), tmp_path / "last.ckpt"
    strategy.checkpoint_io = AtomicCheckpointIO()

    def save(folder, is_seen):
        dcp.save({"state_dict/weight": torch.zeros(2)}, checkpoint_id=folder, no_dist=True)
        if not is_seen:
            (folder / "__0_0.distcp").unlink()

    first, second = possible_folders(path)
    strategy._complete({FOLDER_KEY: first.name}, path, partial(save, first, is_seen=True))
    with pytest.raises(InputError, match=r"__0_0.distcp of other nodes cannot be seen here"):
        strategy._complete({FOLDER_KEY: second.name}, path, partial(save, second, is_seen=False))
    assert read_content(path)[FOLDER_KEY] == first.name
    strategy.checkpoint_io.make_expendable(path)
    with pytest.warns(UserWarning, match=r"last.ckpt: cannot be written .*; the training continues without it"):
        strategy._complete({FOLDER_KEY: second.name}, path, partial(save, second, is_seen=False))
    assert read_content(path)[FOLDER_KEY] == first.name
    assert first.is_dir()


def test_parts_that_find_a_full_disk_are_removed_and_the_disk_is_named(tmp_path, monkeypatch):
    class FullDisk(io.BytesIO):
        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

    @contextmanager
    def full(self, path, mode):
        Path(path).touch()
        yield FullDisk()

    strategy, path = ShardedStrategy(split_checkpoints=True), tmp_path / "last.ckpt"
    strategy.checkpoint_io = AtomicCheckpointIO()
    monkeypatch.setattr(dcp.filesystem.FileSystem, "create_stream", full)
    folder, _ = possible_folders(path)
    save = partial(dcp.save, {"weight": torch.zeros(2)}, storage_writer=PartsWriter(folder), no_dist=True)
    with pytest.raises(InputError, match=r"last.ckpt.tensors-0: cannot be written \(No space left on device\)"):
        strategy._complete({FOLDER_KEY: folder.name}, path, save)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("strategy", "options", "reason"),
    [
        (ModelParallelStrategy, {}, "trainer.strategy ModelParallelStrategy: does not know which layers"),
        (ShardedStrategy, {"callbacks": [Compilation("parts")]}, "set compilation.scope none"),
        (ShardedStrategy, {"sync_batchnorm": True}, "set trainer.sync_batchnorm false"),
        (ShardedStrategy, {"precision": "16-true"}, "use bf16-mixed or 32-true"),
        (ShardedStrategy, {"callbacks": [EMAWeightAveraging()]}, "averages of EMAWeightAveraging are not sharded"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(tmp_path, strategy, options, reason):
    trainer = Trainer(default_root_dir=tmp_path, accelerator="cpu", devices=1, strategy=strategy(), **options)
    with pytest.raises(InputError, match=reason):
        check_sharding(trainer, make_detector())


def test_stages_of_rcnn_and_tiles_are_refused(tmp_path):
    trainer = Trainer(default_root_dir=tmp_path, accelerator="cpu", devices=1, strategy=ShardedStrategy())
    detector = make_detector()
    check_sharding(trainer, detector)
    detector.tiles_and_views = TilesAndViews(tile=32)
    with pytest.raises(InputError, match="ranks have different numbers of tiles"):
        check_sharding(trainer, detector)
    detector.automatic_optimization = False
    with pytest.raises(InputError, match="trains without an optimizer"):
        check_sharding(trainer, detector)
