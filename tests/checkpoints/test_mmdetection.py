"""Layouts and conventions of mmdetection 2.x and 3.x, each against numbers worked out here.

The state dicts are generated under mmdetection's names, such as `roi_head.bbox_head.shared_fcs.0.weight`.
"""

from pathlib import Path

import pytest
import torch
import yaml

from lightning_rcnn.box_losses import GIoULoss, SmoothL1Loss
from lightning_rcnn.checkpoints.coco_classes import NAMES_BY_ID, USED_IDS
from lightning_rcnn.checkpoints.formats import translate as translate_file
from lightning_rcnn.checkpoints.mmdetection import translate
from lightning_rcnn.checkpoints.reading import WeightFile
from lightning_rcnn.checkpoints.translation import flat_settings
from lightning_rcnn.cli import main
from lightning_rcnn.detectors.loading import from_translation, load_detector
from lightning_rcnn.errors import InputError
from lightning_rcnn.functional.boxes import decode

HERE = Path("epoch_12.pth")
CLASSES = 3
COCO_NAMES = [NAMES_BY_ID[category_id] for category_id in USED_IDS]
CONFIG_3 = """
auto_scale_lr = dict(base_batch_size=16, enable=False)
model = dict(
    type='{type}',
    data_preprocessor=dict(
        type='DetDataPreprocessor', mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0], bgr_to_rgb=False),
    backbone=dict(type='ResNet', depth={depth}, frozen_stages=0, norm_cfg=dict(type='BN', requires_grad=False),
        norm_eval=True, style='caffe'),
    rpn_head=dict(
        type='RPNHead',
        anchor_generator=dict(type='AnchorGenerator', scales=[4], ratios=[0.5, 1.0], strides=[4, 8, 16, 32, 64]),
        loss_bbox=dict(type='SmoothL1Loss', beta=0.2, loss_weight=1.0)),
    roi_head=dict(
        type='StandardRoIHead',
        bbox_roi_extractor=dict(
            type='SingleRoIExtractor', finest_scale=28,
            roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=2)),
        bbox_head=dict(
            type='Shared2FCBBoxHead', num_classes={classes},
            bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_means=[0., 0., 0., 0.],
                target_stds=[0.1, 0.1, 0.2, 0.25]),
            loss_bbox=dict(type='GIoULoss', loss_weight=1.0)),
        mask_roi_extractor=dict(
            finest_scale=28, roi_layer=dict(type='RoIAlign', output_size=14, sampling_ratio=2))),
    train_cfg=dict(
        rpn=dict(assigner=dict(pos_iou_thr=0.6, neg_iou_thr=0.2), sampler=dict(type='RandomSampler', num=128),
            allowed_border=0),
        rpn_proposal=dict(nms_pre=1500, max_per_img=700, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0),
        rcnn=dict(assigner=dict(pos_iou_thr=0.45, neg_iou_thr=0.4, match_low_quality=True),
            sampler=dict(type='RandomSampler', num=64, pos_fraction=0.5))),
    test_cfg=dict(
        rpn=dict(nms_pre=900, max_per_img=800, nms=dict(type='nms', iou_threshold=0.65), min_bbox_size=2),
        rcnn=dict(score_thr=0.01, nms=dict(type='nms', iou_threshold=0.55), max_per_img=50)))
train_pipeline = [
    dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='RandomChoiceResize', scales=[(1333, 640), (1333, 672)], keep_ratio=True),
    dict(type='PhotoMetricDistortion'),
    dict(type='RandomFlip', prob=0.5), dict(type='PackDetInputs')]
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(1000, 600), keep_ratio=True)]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=24, val_interval=1)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', begin=0, end=24, by_epoch=True, milestones=[16, 22], gamma=0.1)]
optim_wrapper = dict(
    type='AmpOptimWrapper', optimizer=dict(type='AdamW', lr=0.0001, betas=(0.9, 0.98), weight_decay=0.05),
    clip_grad=dict(max_norm=35, norm_type=2))
"""
CONFIG_2 = """
model = dict(
    type='FasterRCNN', pretrained='torchvision://resnet18',
    backbone=dict(type='ResNet', depth=18, frozen_stages=1, norm_eval=True, style='pytorch'),
    rpn_head=dict(anchor_scales=[8], anchor_ratios=[0.5, 1.0, 2.0], anchor_strides=[4, 8, 16, 32, 64],
        loss_bbox=dict(type='L1Loss', loss_weight=1.0)),
    roi_head=dict(
        bbox_roi_extractor=dict(roi_layer=dict(type='RoIAlign', out_size=7, sample_num=2)),
        bbox_head=dict(num_classes=3, target_stds=[0.1, 0.1, 0.2, 0.2],
            loss_bbox=dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.0))))
train_cfg = dict(
    rpn=dict(assigner=dict(pos_iou_thr=0.7, neg_iou_thr=0.3), sampler=dict(num=256, pos_fraction=0.5)),
    rpn_proposal=dict(nms_pre=2000, nms_post=2000, max_num=1900, nms_thr=0.7),
    rcnn=dict(assigner=dict(pos_iou_thr=0.5, neg_iou_thr=0.5), sampler=dict(num=512, pos_fraction=0.25)))
test_cfg = dict(
    rpn=dict(nms_pre=1000, max_num=950, nms_thr=0.7, min_bbox_size=0),
    rcnn=dict(score_thr=0.05, nms=dict(type='nms', iou_thr=0.5), max_per_img=100))
img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', img_scale=(1333, 800), keep_ratio=True), dict(type='RandomFlip', flip_ratio=0.5),
    dict(type='Normalize', **img_norm_cfg), dict(type='Pad', size_divisor=32)]
optimizer = dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=0.0001)
optimizer_config = dict(grad_clip=None)
lr_config = dict(policy='step', warmup='linear', warmup_iters=500, warmup_ratio=0.001, step=[8, 11])
total_epochs = 12
"""


def layer(name, *shape):
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def norm(name, channels):
    return {f"{name}.{item}": (channels,) for item in ("weight", "bias", "running_mean", "running_var")} | {
        f"{name}.num_batches_tracked": ()
    }


def resnet18():
    shapes = {"backbone.conv1.weight": (64, 3, 7, 7)} | norm("backbone.bn1", 64)
    for stage in range(4):
        channels, before = 64 * 2**stage, 64 * 2 ** max(stage - 1, 0)
        for block in range(2):
            name = f"backbone.layer{stage + 1}.{block}."
            inputs = channels if block else before
            shapes |= {f"{name}conv1.weight": (channels, inputs, 3, 3)} | norm(f"{name}bn1", channels)
            shapes |= {f"{name}conv2.weight": (channels, channels, 3, 3)} | norm(f"{name}bn2", channels)
            if stage and not block:
                shapes |= {f"{name}downsample.0.weight": (channels, inputs, 1, 1)}
                shapes |= norm(f"{name}downsample.1", channels)
    return shapes


def head(name, agnostic):
    shapes = layer(f"{name}.shared_fcs.0", 12, 16 * 49) | layer(f"{name}.shared_fcs.1", 12, 12)
    return (
        shapes | layer(f"{name}.fc_cls", CLASSES + 1, 12) | layer(f"{name}.fc_reg", 4 if agnostic else 4 * CLASSES, 12)
    )


def mask_head(name):
    shapes = {}
    for number in range(4):
        shapes |= layer(f"{name}.convs.{number}.conv", 8, 8 if number else 16, 3, 3)
    shapes |= {f"{name}.upsample.weight": (8, 8, 2, 2), f"{name}.upsample.bias": (8,)}
    return shapes | layer(f"{name}.conv_logits", CLASSES, 8, 1, 1)


def weights(masks=False, cascade=False, anchors=3):
    shapes = resnet18()
    for level in range(4):
        shapes |= layer(f"neck.lateral_convs.{level}.conv", 16, 64 * 2**level, 1, 1)
        shapes |= layer(f"neck.fpn_convs.{level}.conv", 16, 16, 3, 3)
    shapes |= layer("rpn_head.rpn_conv", 16, 16, 3, 3) | layer("rpn_head.rpn_cls", anchors, 16, 1, 1)
    shapes |= layer("rpn_head.rpn_reg", 4 * anchors, 16, 1, 1)
    stages = [f".{stage}" for stage in range(3)] if cascade else [""]
    for stage in stages:
        shapes |= head(f"roi_head.bbox_head{stage}", cascade)
        shapes |= mask_head(f"roi_head.mask_head{stage}") if masks else {}
    generator = torch.Generator().manual_seed(0)
    return {name: torch.rand(shape, generator=generator) * 0.1 + 0.01 for name, shape in shapes.items()}


def config_3(kind="MaskRCNN", depth=18, classes=CLASSES):
    return CONFIG_3.format(type=kind, depth=depth, classes=classes)


@pytest.mark.parametrize(
    ("masks", "cascade", "name"),
    [(False, False, "FasterRCNN"), (True, False, "MaskRCNN"), (False, True, "CascadeRCNN")],
)
def test_every_weight_has_its_place(masks, cascade, name):
    state = weights(masks, cascade)
    translation = translate(WeightFile(HERE, state))
    detector = from_translation(translation)
    assert type(detector).__name__ == name
    assert (translation.unexpected, translation.left) == ([], [])
    ours = detector.state_dict()
    for theirs, place in translation.names.items():
        value = state[theirs]
        if "fc_cls" in theirs:  # the background is the last of its rows
            value = torch.cat((value[-1:], value[:-1]))
        assert torch.equal(ours[place], value), theirs
    assert len(set(translation.names.values())) == len(translation.names)
    left_out = set(state) - set(translation.names)
    assert all(theirs.endswith("num_batches_tracked") for theirs in left_out)


def test_conventions_without_a_configuration():
    detector = from_translation(translate(WeightFile(HERE, weights(masks=True))))
    pixels = torch.tensor([10, 20, 30], dtype=torch.uint8)[None, :, None, None].expand(1, 3, 4, 4)
    found = detector.preprocessing.normalize(pixels, torch.tensor([[4, 4]]))[0, :, 0, 0]
    wanted = [(10 - 123.675) / 58.395, (20 - 116.28) / 57.12, (30 - 103.53) / 57.375]
    torch.testing.assert_close(found, torch.tensor(wanted))
    # The first anchor of position (0, 1) of the finest map: 4 times 8 pixels, of ratio 0.5, around (4, 0).
    anchors = detector.rpn.anchors([(2, 2)] * 5, (64, 64))[0]
    half = torch.tensor([32 / 0.5**0.5 / 2, 32 * 0.5**0.5 / 2])
    torch.testing.assert_close(anchors[3], torch.tensor([4.0, 0, 4, 0]) + torch.cat((-half, half)))
    # Its deviations are the inverse of our weights: half a width to the right by a delta of 5 times 0.1.
    moved = decode(torch.tensor([[5.0, 0, 0, 0]]), torch.tensor([[0.0, 0, 10, 10]]), detector.box.settings.box_weights)
    torch.testing.assert_close(moved, torch.tensor([[5.0, 0, 15, 10]]))
    settings = dict(flat_settings(detector.init_args))
    assert settings["pooler.init_args.level_rule"] == "mmdetection"
    assert settings["mask.init_args.target"] == "thresholded"
    assert settings["preprocessing.init_args.resize"] == "opencv"
    assert detector.backbone.body.bn1.eps == 1e-5


@pytest.mark.parametrize(
    ("masks", "cascade", "config", "low_quality_iou"),
    [
        (True, False, None, 0.5),
        (False, False, None, None),
        (True, True, None, None),
        (True, False, config_3().replace("match_low_quality=True", "match_low_quality=False"), None),
        (True, False, config_3().replace("match_low_quality=True", "match_low_quality=True, min_pos_iou=0.4"), 0.4),
    ],
)
def test_the_best_region_of_an_object_learns_it_in_mask_rcnn_alone(masks, cascade, config, low_quality_iou):
    """As `match_low_quality` of their `_base_/models` says, unless a configuration says otherwise."""
    meta = {} if config is None else {"cfg": config}
    translation = translate(WeightFile(HERE, weights(masks, cascade, anchors=2 if config else 3), meta))
    assert translation.hyperparameters["box"].get("low_quality_iou") == low_quality_iou


@pytest.mark.parametrize("names", [[f"kind {number}" for number in range(80)], COCO_NAMES], ids=["own", "coco"])
def test_names_of_as_many_classes_as_coco_has(names):
    state = weights()
    for name, rows in (("fc_cls", 81), ("fc_reg", 320)):
        for item in ("weight", "bias"):
            key = f"roi_head.bbox_head.{name}.{item}"
            state[key] = state[key].new_zeros(rows, *state[key].shape[1:])
    settings = translate(WeightFile(HERE, state, {"CLASSES": tuple(names)})).hyperparameters
    assert settings["class_names"] == names
    assert settings["category_ids"] == (USED_IDS if names is COCO_NAMES else None)


def test_settings_of_3_become_ours():
    translation = translate(WeightFile(HERE, weights(masks=True, anchors=2), {"cfg": config_3()}))
    wanted = {
        "preprocessing.channel_order": "bgr",
        "preprocessing.pixel_mean": [103.53, 116.28, 123.675],
        "preprocessing.min_size": 600,
        "preprocessing.max_size": 1000,
        "backbone.init_args.frozen_stages": 1,
        "rpn.anchors.sizes": [16.0, 32.0, 64.0, 128.0, 256.0],
        "rpn.anchors.ratios": [0.5, 1.0],
        "rpn.box_loss.init_args.beta": 0.2,
        "rpn.positive_iou": 0.6,
        "rpn.negative_iou": 0.2,
        "rpn.samples_per_image": 128,
        "rpn.cross_boundary_anchors": "ignore_edge",
        "rpn.pre_nms_top_n": [1500, 900],
        "rpn.post_nms_top_n": [700, 800],
        "rpn.nms_iou": 0.65,
        "rpn.min_size": 2,
        "pooler.canonical": [4, 112.0],
        "pooler.sampling_ratio": 2,
        "box.box_weights": [10.0, 10.0, 5.0, 4.0],
        "box.positive_iou": 0.45,
        "box.negative_iou": 0.4,
        "box.low_quality_iou": 0.0,
        "rpn.low_quality_iou": 0.0,
        "rpn.low_quality_target": "own_object",
        "rpn.loss_denominator": "sampled_or_one",
        "box.samples_per_image": 64,
        "box.score_threshold": 0.01,
        "box.nms_iou": 0.55,
        "box.detections_per_image": 50,
        "mask.pooled_size": 14,
        "optimizer.class_path": "torch.optim.AdamW",
        "optimizer.init_args.betas": [0.9, 0.98],
        "schedule.init_args.milestones": [0.666667, 0.916667],
        "schedule.init_args.warmup_steps": 500,
        "parameter_groups.reference_batch_size": 16,
    }
    settings = dict(flat_settings(translation.hyperparameters))
    assert {key: settings.get(key) for key in wanted} == wanted
    assert translation.run == {
        "data": {
            "train_transforms": [
                {"class_path": "HorizontalFlip"},
                {"class_path": "Resize", "init_args": {"min_sizes": [640, 672]}},
            ]
        },
        "trainer": {"max_epochs": 24, "gradient_clip_val": 35, "precision": "16-mixed"},
    }
    named = [note.partition("no counterpart of ")[2] for note in translation.notes if "no counterpart" in note]
    assert sorted(named) == [
        "model.roi_head.bbox_head.loss_bbox.type GIoULoss.",
        "model.train_cfg.rpn_proposal.min_bbox_size 0.",
        "model.train_cfg.rpn_proposal.nms.iou_threshold 0.7.",
        "train_pipeline PhotoMetricDistortion.",
        "train_pipeline RandomChoiceResize with longer edges of [1333] (the model has one limit).",
    ]
    from_translation(translation)


def test_a_loss_by_overlap_and_its_weight_become_ours():
    config = config_3().replace(
        "loss_bbox=dict(type='GIoULoss', loss_weight=1.0)",
        "reg_decoded_bbox=True, loss_bbox=dict(type='GIoULoss', loss_weight=10.0)",
    )
    translation = translate(WeightFile(HERE, weights(masks=True, anchors=2), {"cfg": config}))
    assert not [note for note in translation.notes if "loss_bbox" in note or "reg_decoded" in note]
    detector = from_translation(translation)
    assert detector.box.settings.box_loss == GIoULoss(weight=10.0)
    assert detector.rpn.settings.box_loss == SmoothL1Loss(beta=0.2)


def test_without_matches_of_low_quality_no_anchor_below_the_threshold_is_positive():
    config = changed(CONFIG_2, ("rpn=dict(assigner=dict(", "rpn=dict(assigner=dict(match_low_quality=False, "))
    translation = translate(WeightFile(HERE, weights(), {"cfg": config}))
    assert translation.hyperparameters["rpn"]["low_quality_iou"] == 1.0


def test_settings_of_2_become_ours():
    translation = translate(WeightFile(HERE, weights(), {"config": CONFIG_2, "CLASSES": ("a", "b", "c")}))
    wanted = {
        "preprocessing.channel_order": "rgb",
        "preprocessing.min_size": 800,
        "rpn.post_nms_top_n": [1900, 950],
        "rpn.box_loss.init_args.beta": 0.0,
        "box.box_loss.init_args.beta": 1.0,
        "pooler.sampling_ratio": 2,
        "schedule.init_args.milestones": [0.666667, 0.916667],
        "optimizer.init_args.momentum": 0.9,
        "class_names": ["a", "b", "c"],
    }
    settings = dict(flat_settings(translation.hyperparameters))
    assert {key: settings.get(key) for key in wanted} == wanted
    assert translation.run["trainer"] == {"max_epochs": 12}
    assert not [note for note in translation.notes if "no counterpart" in note]


def changed(config, *replacements):
    for old, new in replacements:
        assert config.count(old) == 1, old
        config = config.replace(old, new)
    return config


IN_STEPS_3 = changed(
    config_3(),
    ("type='EpochBasedTrainLoop', max_epochs=24, val_interval=1", "type='IterBasedTrainLoop', max_iters=90000"),
    (
        "begin=0, end=24, by_epoch=True, milestones=[16, 22]",
        "begin=0, end=90000, by_epoch=False, milestones=[60000, 80000]",
    ),
)
IN_STEPS_2 = changed(
    CONFIG_2,
    ("total_epochs = 12", "runner = dict(type='IterBasedRunner', max_iters=90000)"),
    ("step=[8, 11]", "by_epoch=False, step=[60000, 80000]"),
)


@pytest.mark.parametrize(("config", "mask"), [(IN_STEPS_3, True), (IN_STEPS_2, False)])
def test_a_training_may_be_counted_in_steps(config, mask):
    state = weights(masks=True, anchors=2) if mask else weights()
    translation = translate(WeightFile(HERE, state, {"cfg": config}))
    assert translation.run["trainer"].items() >= {"max_epochs": -1, "max_steps": 90000}.items()
    schedule = translation.hyperparameters["schedule"]["init_args"]
    assert schedule == {"warmup_steps": 500, "milestones": [0.666667, 0.888889]}
    assert not any("max_iters" in note for note in translation.notes)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("policy='step', warmup", "policy='CosineAnnealing', min_lr=0, warmup"),
        ("lr_config = dict(policy='step', warmup='linear', warmup_iters=500, warmup_ratio=0.001, step=[8, 11])",
         "param_scheduler = [dict(type='LinearLR', start_factor=0.001, by_epoch=False, end=500), "
         "dict(type='CosineAnnealingLR', eta_min=0.0, T_max=12)]"),
    ],
)  # fmt: skip
def test_a_rate_may_fall_along_a_cosine(old, new):
    translation = translate(WeightFile(HERE, weights(), {"cfg": changed(CONFIG_2, (old, new))}))
    assert translation.hyperparameters["schedule"] == {
        "class_path": "lightning_rcnn.detectors.schedules.CosineSchedule",
        "init_args": {"warmup_steps": 500},
    }


def test_padding_and_checkpointing_become_ours():
    of_3 = translate(WeightFile(HERE, weights(masks=True, anchors=2), {"cfg": config_3()}))
    assert of_3.hyperparameters["preprocessing"]["size_divisor"] == 1  # no `pad_size_divisor` is none
    padded = changed(config_3(), ("bgr_to_rgb=False)", "bgr_to_rgb=False, pad_size_divisor=16)"))
    of_3 = translate(WeightFile(HERE, weights(masks=True, anchors=2), {"cfg": padded}))
    assert of_3.hyperparameters["preprocessing"]["size_divisor"] == 16
    padded = changed(CONFIG_2, ("size_divisor=32", "size_divisor=64"), ("depth=18", "depth=18, with_cp=True"))
    of_2 = translate(WeightFile(HERE, weights(), {"cfg": padded}))
    assert of_2.hyperparameters["preprocessing"]["size_divisor"] == 64
    assert of_2.hyperparameters["backbone"]["init_args"]["checkpointing"] is True


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("800), keep_ratio=True", "800), keep_ratio=False", "train_pipeline Resize keep_ratio=False"),
        ("depth=18", "depth=18, dilations=(1, 1, 1, 2)", "model.backbone.dilations"),
        ("depth=18", "depth=18, strides=(1, 2, 2, 1)", "model.backbone.strides"),
        ("rpn_head=", "neck=dict(type='FPN', num_outs=4), rpn_head=", "model.neck.num_outs"),
        ("by_epoch=False, step", "step", "milestones of the rate"),
    ],
)  # fmt: skip
def test_what_the_network_or_the_resize_here_cannot_do_is_named(old, new, named):
    config = changed(IN_STEPS_2 if "by_epoch" in old else CONFIG_2, (old, new))
    translation = translate(WeightFile(HERE, weights(), {"cfg": config}))
    assert [note for note in translation.notes if f"no counterpart of {named}" in note]


def test_a_cascade_averages_logits_and_has_the_masks_of_its_last_stage():
    state = weights(masks=True, cascade=True)
    translation = translate(WeightFile(HERE, state))
    others = ["roi_head.mask_head.0", "roi_head.mask_head.1"]
    assert any("--allow roi_head.mask_head.0 roi_head.mask_head.1" in note for note in translation.notes)
    with pytest.raises(InputError, match=r"roi_head\.mask_head\.0"):
        from_translation(translate(WeightFile(HERE, state)))
    detector = from_translation(translation, others)
    assert torch.equal(
        detector.state_dict()["mask.head.logits.weight"], state["roi_head.mask_head.2.conv_logits.weight"]
    )
    settings = detector.box.settings
    assert (settings.averages, settings.loss_weights) == ("logits", (1.0, 0.5, 0.25))
    assert settings.stage_box_weights[1] == pytest.approx([30.303, 30.303, 14.925, 14.925], abs=1e-3)


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (config_3("RetinaNet"), "model.type RetinaNet: we have no such detector"),
        (config_3(depth=50), "model.backbone.depth 50, but .* is a resnet18"),
        (config_3(classes=80), "num_classes 80, but .* has 3 classes"),
        (config_3().replace("'ResNet'", "'HRNet'"), "model.backbone.type HRNet: its weights are read for ResNet, "),
        (config_3().replace("'ResNet'", "'SwinTransformer'"), "backbone.type SwinTransformer, but .* is a resnet18"),
        ("model = 3", "has no model with a type"),
    ],
)
def test_configurations_of_others_are_refused_in_one_line(tmp_path, capsys, config, problem):
    (tmp_path / "other.py").write_text(config)
    torch.save({"state_dict": weights(masks=True, anchors=2), "meta": {}}, tmp_path / "epoch_12.pth")
    words = ["convert", str(tmp_path / "epoch_12.pth"), "--config", str(tmp_path / "other.py")]
    assert main([*words, "--out", str(tmp_path / "ours.ckpt")]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    with pytest.raises(InputError, match=problem):
        translate_file(tmp_path / "epoch_12.pth", config=tmp_path / "other.py")


def test_a_checkpoint_is_converted_with_the_configuration_in_it(tmp_path, capsys):
    meta = {"cfg": config_3(), "dataset_meta": {"classes": ("x", "y", "z")}, "epoch": 12}
    torch.save({"state_dict": weights(masks=True, anchors=2), "meta": meta}, tmp_path / "epoch_12.pth")
    assert main(["convert", str(tmp_path / "epoch_12.pth"), "--out", str(tmp_path / "ours.ckpt")]) == 0
    printed = capsys.readouterr().out
    assert "mmdetection's Mask R-CNN, FPN, as MaskRCNN with 3 classes" in printed
    assert load_detector(tmp_path / "ours.ckpt").class_names == ["x", "y", "z"]
    recipe = yaml.safe_load((tmp_path / "ours.yaml").read_text())
    assert recipe["trainer"]["max_epochs"] == 24
    assert recipe["model"]["init_args"]["optimizer"]["class_path"] == "torch.optim.AdamW"


def test_weights_beside_their_average_are_left_out():
    """mmcv's EMAHook registers `ema_backbone_conv1_weight` and so on, and saves with both exchanged."""
    state = weights()
    raw = {f"ema_{name.replace('.', '_')}": value + 1 for name, value in state.items()}
    translation = translate(WeightFile(Path("epoch_12.pth"), state | raw, {"cfg": CONFIG_2}))
    assert translation.unexpected == []
    assert {name for name, why in translation.dropped.items() if "average" in why} == raw.keys()
    assert torch.equal(translation.weights["rpn.head.conv.weight"], state["rpn_head.rpn_conv.weight"])
