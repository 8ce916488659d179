"""Pipelines and training sets of mmdetection: transforms, sizes and lengths that become ours, and what is named."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from lightning_rcnn.checkpoints.mmdetection import translate
from lightning_rcnn.checkpoints.reading import WeightFile
from lightning_rcnn.data.transforms.scale_jitter import ScaleJitter

from ..test_mmdetection import CONFIG_2, changed, weights
from .test_mmdetection_known import named

RESIZE_2 = "dict(type='Resize', img_scale=(1333, 800), keep_ratio=True)"
RESIZE_3 = "dict(type='Resize', scale=(1333, 800)"
FLIP = "dict(type='RandomFlip', flip_ratio=0.5)"
LSJ_2 = (
    "dict(type='Resize', img_scale=(1000, 600), ratio_range=(0.1, 2.0), multiscale_mode='range', keep_ratio=True),"
    "dict(type='RandomCrop', crop_type='absolute', crop_size=(600, 1000), recompute_bbox=True, "
    "allow_negative_crop=True), dict(type='FilterAnnotations', min_gt_bbox_wh=(1e-2, 1e-2))"
)
LSJ_3 = (
    "dict(type='RandomResize', scale=(1024, 1024), ratio_range=(0.1, 2.0), keep_ratio=True), dict(type='RandomCrop', "
    "crop_type='absolute_range', crop_size=(1024, 1024), recompute_bbox=True, allow_negative_crop=True)"
)
VIEWS = (
    "test_pipeline = [dict(type='LoadImageFromFile'), dict(type='MultiScaleFlipAug', img_scale={scale}, flip={flip}, "
    "transforms=[dict(type='Resize', keep_ratio={keeps}), dict(type='RandomFlip'), dict(type='Pad', size_divisor=32), "
    "dict(type='ImageToTensor', keys=['img']), dict(type='Collect', keys=['img'])])]\n"
)
SQUEEZED = "Resize keep_ratio=False (images keep their aspect ratio here)"
INDEPENDENT = "(flips are drawn independently here)"


@cache
def _weights():
    return weights()


def translated(config):
    return translate(WeightFile(Path("epoch_12.pth"), _weights(), {"cfg": config}))


def resize(*lengths):
    return {"class_path": "Resize", "init_args": {"min_sizes": list(lengths)}}


def flip(kind="Horizontal", p=None):
    return {"class_path": f"{kind}Flip"} | ({"init_args": {"p": p}} if p else {})


def jitter(height, width):
    return {"class_path": "ScaleJitter", "init_args": {"target_size": [height, width], "scale_range": [0.1, 2.0]}}


@pytest.mark.parametrize(
    ("old", "new", "expected", "keys"),
    [
        (RESIZE_2, f"{RESIZE_3}, keep_ratio=True)", [flip(), resize(800)], []),
        (RESIZE_2, f"{RESIZE_3})", [flip(), resize(800)], [f"train_pipeline {SQUEEZED}"]),
        (RESIZE_2, RESIZE_2.replace(", keep_ratio=True", ""), [flip(), resize(800)], []),  # the default of 2.x
        (RESIZE_2, "dict(type='RandomChoiceResize', scales=[(1333, 640), (1333, 800)])", [flip(), resize(640, 800)],
         [f"train_pipeline RandomChoice{SQUEEZED}"]),
        ("img_scale=(1333, 800)", "img_scale=[(1333, 768), (1333, 800)]", [flip(), resize(768, 800)], []),
        ("img_scale=(1333, 800)", "img_scale=[(1333, 640), (1333, 800)], multiscale_mode='value'",
         [flip(), resize(640, 800)], []),
        ("img_scale=(1333, 800)", "img_scale=[(1333, 720), (1333, 800)]", [flip(), resize(720, 752, 784, 800)], []),
        (RESIZE_2, LSJ_2, [flip(), jitter(600, 1000)], []),
        (RESIZE_2, LSJ_3, [flip(), jitter(1024, 1024)], []),
        (RESIZE_2, LSJ_3.replace("(1024, 1024), recompute", "(512, 512), recompute"), [flip(), resize(1024)],
         ["train_pipeline RandomCrop", "train_pipeline RandomResize ratio_range [0.1, 2.0]"]),
        (RESIZE_2, RESIZE_2.replace("keep", "ratio_range=(0.8, 1.2), keep"), [flip(), resize(800)],
         ["train_pipeline Resize ratio_range [0.8, 1.2]"]),
        (FLIP, FLIP.replace("0.5", "0.3"), [flip(p=0.3), resize(800)], []),
        (FLIP, FLIP.replace("0.5", "0.0"), [resize(800)], []),
        (FLIP, FLIP.replace("0.5", "0.5, direction='vertical'"), [flip("Vertical"), resize(800)], []),
        (FLIP, f"{FLIP}, dict(type='RandomFlip', flip_ratio=0.25, direction='vertical')",
         [flip(), flip("Vertical", 0.25), resize(800)], []),
        (FLIP, "dict(type='RandomFlip', prob=0.75, direction=['horizontal', 'vertical', 'diagonal'])",
         [flip(), flip("Vertical"), resize(800)], []),
        (FLIP, "dict(type='RandomFlip', prob=[0.3, 0.2], direction=['horizontal', 'vertical'])",
         [flip(p=0.3), flip("Vertical", 0.2), resize(800)],
         [f"train_pipeline RandomFlip direction ['horizontal', 'vertical'] {INDEPENDENT}"]),
        (FLIP, FLIP.replace("0.5", "0.5, direction='diagonal'"), [resize(800)],
         [f"train_pipeline RandomFlip direction diagonal {INDEPENDENT}"]),
        ("size_divisor=32", "size=(1024, 1024)", [flip(), resize(800)], ["train_pipeline Pad size [1024, 1024]"]),
    ],
)  # fmt: skip
def test_transforms(old, new, expected, keys):
    config = changed(CONFIG_2, (old, new))
    assert (translated(config).run["data"]["train_transforms"], sorted(named(config))) == (expected, keys)


def test_three_directions_of_a_flip_are_two_independent_ones():
    """A quarter each of none, horizontal, vertical and both: what two flips of one half give."""
    config = changed(CONFIG_2, (FLIP, "dict(type='RandomFlip', prob=[.06, .56, .14], "
                                      "direction=['horizontal', 'vertical', 'diagonal'])"))  # fmt: skip
    across, down, _ = translated(config).run["data"]["train_transforms"]
    shares = np.outer([0.8, 0.2], [0.3, 0.7])  # of not and of horizontally, of not and of vertically
    assert [shares[1, 0], shares[0, 1], shares[1, 1]] == pytest.approx([0.06, 0.56, 0.14])
    assert (across, down) == (flip(p=0.2), flip("Vertical", 0.7))


@pytest.mark.parametrize(
    ("views", "keys"),
    [
        ({}, []),
        ({"keeps": False}, [f"test_pipeline {SQUEEZED}"]),
        ({"flip": True}, ["test_pipeline MultiScaleFlipAug flip True"]),
        ({"scale": "[(1333, 800), (1333, 1000)]"},
         ["test_pipeline MultiScaleFlipAug img_scale [[1333, 800], [1333, 1000]]"]),
    ],
)  # fmt: skip
def test_views_of_a_test(views, keys):
    config = CONFIG_2 + VIEWS.format(**{"scale": "(1333, 800)", "flip": False, "keeps": True} | views)
    assert named(config) == keys
    preprocessing = translated(config).hyperparameters["preprocessing"]
    assert (preprocessing["min_size"], preprocessing["max_size"]) == (800, 1333)


NORMALIZE = "dict(type='Normalize', **img_norm_cfg), dict(type='Pad', size_divisor=32)"


@pytest.mark.parametrize(
    ("arguments", "expected", "keys"),
    [
        ("mean=[1., 2., 3.], std=[4., 5., 6.], bgr_to_rgb=True, pad_size_divisor=64",
         {"pixel_mean": [1, 2, 3], "pixel_std": [4, 5, 6], "channel_order": "rgb", "size_divisor": 64}, []),
        ("pad_size_divisor=64",
         {"pixel_mean": [0, 0, 0], "pixel_std": [1, 1, 1], "channel_order": "bgr", "size_divisor": 64}, []),
        ("pad_size_divisor=32, batch_augments=[dict(type='BatchFixedSizePad', size=(1024, 1024), pad_mask=True)]",
         {"size_divisor": 32}, ["model.data_preprocessor.batch_augments.0.type BatchFixedSizePad"]),
        ("pad_size_divisor=32, pad_value=114", {"size_divisor": 32}, ["model.data_preprocessor.pad_value 114"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("is_in_model", [True, False])
def test_the_preprocessor_of_3(arguments, expected, keys, is_in_model):
    given = f"data_preprocessor=dict({arguments})"
    config = changed(CONFIG_2, (NORMALIZE, ""), ("img_norm_cfg = dict(", "other = dict("))
    config = changed(config, ("'FasterRCNN', ", f"'FasterRCNN', {given}, ")) if is_in_model else f"{config}{given}\n"
    assert translated(config).hyperparameters["preprocessing"].items() >= expected.items()
    assert named(config) == keys


def test_padding_of_batches_to_the_size_of_the_jitter_is_ours():
    preprocessor = "data_preprocessor=dict(batch_augments=[dict(type='BatchFixedSizePad', size=(1024, 1024))])"
    config = changed(CONFIG_2, (RESIZE_2, LSJ_3), ("type='FasterRCNN', ", f"type='FasterRCNN', {preprocessor}, "))
    assert named(config) == []
    made = ScaleJitter(**translated(config).run["data"]["train_transforms"][-1]["init_args"])
    assert (made.target_size, made.scale_range) == ((1024, 1024), (0.1, 2.0))


SET = "dict(type='CocoDataset', ann_file='a.json', pipeline=train_pipeline{more})"


@pytest.mark.parametrize(
    ("data", "epochs", "keys"),
    [
        (SET, 12, []),
        (f"dict(type='RepeatDataset', times=3, dataset={SET})", 36, []),
        (f"dict(type='RepeatDataset', times=2, dataset=dict(type='RepeatDataset', times=3, dataset={SET}))", 72, []),
        (f"dict(type='ClassBalancedDataset', oversample_thr=1e-3, dataset={SET})", 12,
         ["{0}.oversample_thr 0.001", "{0}.type ClassBalancedDataset"]),
        (SET.replace("{more}", ", filter_cfg=dict(filter_empty_gt=False, min_size=32)"), 12,
         ["{0}.filter_cfg.min_size 32"]),
        (f"dict(type='ConcatDataset', datasets=[{SET}, {SET}])", 12, ["{0}.datasets with several sets"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("is_3", [False, True], ids=["2", "3"])
def test_training_sets(data, epochs, keys, is_3):
    data = data.replace("{more}", "")
    more = f"train_dataloader = dict(batch_size=4, num_workers=2, dataset={data})"
    if not is_3:
        more = f"data = dict(samples_per_gpu=4, workers_per_gpu=2, train={data}, test=dict(type='CocoDataset'))"
    translation = translated(f"{CONFIG_2}{more}\n")
    assert translation.run["trainer"]["max_epochs"] == epochs
    assert translation.run["data"] == {"train_transforms": [flip(), resize(800)], "batch_size": 4}
    assert translation.hyperparameters["schedule"]["init_args"]["milestones"] == [0.666667, 0.916667]
    start = "train_dataloader.dataset" if is_3 else "data.train"
    assert sorted(named(f"{CONFIG_2}{more}\n")) == [key.format(start) for key in keys]


@pytest.mark.parametrize(
    ("more", "keys"),
    [
        ("custom_hooks = [dict(type='NumClassCheckHook'), dict(type='EMAHook', momentum=1e-4)]",
         ["custom_hooks EMAHook"]),
        ("train_dataloader = dict(sampler=dict(type='ClassAwareSampler', num_sample_class=1))",
         ["train_dataloader.sampler.num_sample_class 1", "train_dataloader.sampler.type ClassAwareSampler"]),
        ("train_dataloader = dict(sampler=dict(type='DefaultSampler', shuffle=True), "
         "batch_sampler=dict(type='AspectRatioBatchSampler'))", []),
        ("log_config = dict(interval=50)\nmine = 3\nload_from = None\nworkflow = [('train', 1)]", []),
    ],
)  # fmt: skip
def test_samplers_and_hooks(more, keys):
    assert sorted(named(f"{CONFIG_2}{more}\n")) == keys
