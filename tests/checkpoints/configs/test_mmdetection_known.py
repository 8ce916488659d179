"""Settings of a model of mmdetection that ours has not: each is named, with its value, and no other."""

from functools import cache
from pathlib import Path

import pytest

from lightning_rcnn.checkpoints.mmdetection import translate
from lightning_rcnn.checkpoints.reading import WeightFile

from ..test_mmdetection import CONFIG_2, changed, config_3, weights

STAGE = "dict(num_classes=3, target_stds=[{stds}], loss_bbox=dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.0))"
RULE = (
    "dict(assigner=dict(pos_iou_thr={iou}, neg_iou_thr={iou}), "
    "sampler=dict(type='RandomSampler', num=512, pos_fraction=0.25))"
)
CASCADE = changed(
    CONFIG_2,
    ("type='FasterRCNN'", "type='CascadeRCNN'"),
    (
        "bbox_head=dict(num_classes=3, target_stds=[0.1, 0.1, 0.2, 0.2],\n"
        "            loss_bbox=dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.0))",
        "bbox_head=["
        + ", ".join(STAGE.format(stds=stds) for stds in (".1, .1, .2, .2", ".05, .05, .1, .1", ".03, .03, .06, .06"))
        + "]",
    ),
    (
        "rcnn=dict(assigner=dict(pos_iou_thr=0.5, neg_iou_thr=0.5), sampler=dict(num=512, pos_fraction=0.25))",
        "rcnn=[" + ", ".join(RULE.format(iou=iou) for iou in (0.5, 0.6, 0.7)) + "]",
    ),
)
USUAL = (
    "model.roi_head.bbox_head.loss_bbox.type GIoULoss.",
    "model.train_cfg.rpn_proposal.min_bbox_size 0.",
    "model.train_cfg.rpn_proposal.nms.iou_threshold 0.7.",
    "train_pipeline PhotoMetricDistortion.",
    "train_pipeline RandomChoiceResize with longer edges of [1333] (the model has one limit).",
)
"""What `CONFIG_3` has for a test of the whole."""
MASK_POOLER = "finest_scale=28, roi_layer=dict(type='RoIAlign', output_size=14, sampling_ratio=2)"
NECK = "neck=dict(type='FPN', num_outs=5{more}), rpn_head="


@cache
def _weights(**kinds):
    return weights(**kinds)


def named(config):
    kinds = {"cascade": True} if "CascadeRCNN" in config else {}
    kinds = {"masks": True, "anchors": 2} if "MaskRCNN" in config else kinds
    notes = translate(WeightFile(Path("epoch_12.pth"), _weights(**kinds), {"cfg": config})).notes
    left = [note.partition("no counterpart of ")[2] for note in notes if "no counterpart of " in note]
    return [note.removesuffix(".") for note in left if note not in USUAL]


@pytest.mark.parametrize("config", [CONFIG_2, CASCADE, config_3()], ids=["2", "cascade", "3"])
def test_usual_settings_are_not_named(config):
    assert named(config) == []


@pytest.mark.parametrize(
    ("old", "new", "keys"),
    [
        ("roi_head=dict(", "roi_head=dict(type='DynamicRoIHead', ", ["model.roi_head.type DynamicRoIHead"]),
        ("bbox_roi_extractor=dict(", "bbox_roi_extractor=dict(type='GenericRoIExtractor', aggregation='sum', ",
         ["model.roi_head.bbox_roi_extractor.type GenericRoIExtractor",
          "model.roi_head.bbox_roi_extractor.aggregation sum"]),
        ("rpn=dict(assigner=dict(", "rpn=dict(assigner=dict(type='ATSSAssigner', topk=9, ",
         ["model.train_cfg.rpn.assigner.type ATSSAssigner", "model.train_cfg.rpn.assigner.topk 9"]),
        ("rpn=dict(assigner=dict(", "rpn=dict(assigner=dict(match_low_quality=False, min_pos_iou=.3, ", []),
        ("nms=dict(type='nms', iou_thr=0.5)", "nms=dict(type='soft_nms', iou_thr=0.5, min_score=0.05)", []),
        ("nms=dict(type='nms', iou_thr=0.5)", "nms=dict(type='nms', iou_thr=0.5, class_agnostic=True)", []),
        ("nms=dict(type='nms', iou_thr=0.5)",
         "nms=dict(type='soft_nms', iou_thr=0.5, min_score=0.2, method='gaussian')",
         ["model.test_cfg.rcnn.nms.min_score 0.2", "model.test_cfg.rcnn.nms.method gaussian"]),
        ("loss_bbox=dict(type='L1Loss', loss_weight=1.0)", "loss_bbox=dict(type='L1Loss', loss_weight=0.0)",
         ["model.rpn_head.loss_bbox.loss_weight 0.0"]),
        ("nms=dict(type='nms', iou_thr=0.5)", "nms=dict(type='soft_nms', iou_thr=0.5)",
         ["model.test_cfg.rcnn.nms.min_score 0.001"]),
        ("depth=18", "depth=18, act_cfg=dict(type='SiLU')", ["model.backbone.act_cfg.type SiLU"]),
        ("depth=18", "depth=18, norm_cfg=dict(type='BN', eps=1e-3)", ["model.backbone.norm_cfg.eps 0.001"]),
        ("depth=18", "depth=18, deep_stem=True", ["model.backbone.deep_stem True"]),
        ("depth=18", "depth=18, plugins=[dict(cfg=dict(type='ContextBlock'), stages=(False, True, True, True))]",
         ["model.backbone.plugins.0.cfg.type ContextBlock",
          "model.backbone.plugins.0.stages [False, True, True, True]"]),
        ("rpn_head=", "neck=dict(type='PAFPN', num_outs=5), rpn_head=", ["model.neck.type PAFPN"]),
        ("rpn_head=", NECK.format(more=", end_level=2"), ["model.neck.end_level 2"]),
        ("rpn_head=", NECK.format(more=", add_extra_convs='on_output'"), ["model.neck.add_extra_convs on_output"]),
        ("rpn_head=", NECK.format(more=", end_level=-1, norm_cfg=dict(type='BN', requires_grad=True)"), []),
        ("nms_post=2000", "nms_post=300", ["model.train_cfg.rpn_proposal.nms_post 300"]),
        ("max_num=1900, ", "", ["model.test_cfg.rpn.max_per_img 950"]),
        ("rpn_head=dict(", "rpn_head=dict(reg_decoded_bbox=True, ", ["model.rpn_head.reg_decoded_bbox True"]),
        ("rcnn=dict(assigner", "rcnn=dict(pos_weight=2, assigner", ["model.train_cfg.rcnn.pos_weight 2"]),
        ("type='FasterRCNN'", "type='FasterRCNN', train_head=True", ["model.train_head True"]),
    ],
)  # fmt: skip
def test_other_settings_are_named(old, new, keys):
    assert named(changed(CONFIG_2, (old, new))) == keys


@pytest.mark.parametrize(
    ("old", "new", "keys"),
    [
        ("mask_roi_extractor=dict(", "mask_head=dict(loss_mask=dict(type='DiceLoss')), mask_roi_extractor=dict(",
         ["model.roi_head.mask_head.loss_mask.type DiceLoss"]),
        (MASK_POOLER, MASK_POOLER.replace("28", "112"), ["model.roi_head.mask_roi_extractor.finest_scale 112"]),
        (MASK_POOLER, MASK_POOLER.removeprefix("finest_scale=28, "),
         ["model.roi_head.mask_roi_extractor.finest_scale 56"]),
        (MASK_POOLER, MASK_POOLER.replace("_ratio=2", "_ratio=0"),
         ["model.roi_head.mask_roi_extractor.roi_layer.sampling_ratio 0"]),
        (MASK_POOLER, MASK_POOLER.replace("RoIAlign", "RoIPool"),
         ["model.roi_head.mask_roi_extractor.roi_layer.type RoIPool"]),
    ],
)  # fmt: skip
def test_settings_of_masks_are_named(old, new, keys):
    assert named(changed(config_3(), (old, new))) == keys


OF_ALL = "model.roi_head.bbox_head."


@pytest.mark.parametrize(
    ("old", "new", "keys"),
    [
        ("type='RandomSampler'", "type='OHEMSampler'",
         [f"model.train_cfg.rcnn.{stage}.sampler.type OHEMSampler" for stage in range(3)]),
        ("loss_bbox=dict(type='Sm", "loss_cls=dict(type='FocalLoss'), loss_bbox=dict(type='Sm",
         [f"{OF_ALL}{stage}.loss_cls.type FocalLoss" for stage in range(3)]),
        ("dict(num_classes=3", "dict(reg_decoded_bbox=True, num_classes=3",
         [f"{OF_ALL}{stage}.reg_decoded_bbox True" for stage in range(3)]),
        (".06, .06], loss_bbox=dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.0",
         ".06, .06], loss_bbox=dict(type='SmoothL1Loss', beta=0.5, loss_weight=2.0",
         [f"{OF_ALL}2.loss_bbox.{name}" for name in ("beta 0.5", "loss_weight 2.0")]),
        ("type='SmoothL1Loss', beta=1.0", "type='GIoULoss'",
         [f"{OF_ALL}{stage}.loss_bbox.type GIoULoss" for stage in range(3)]),
        (".06, .06], loss_bbox=dict(type='SmoothL1Loss', beta=1.0", ".06, .06], loss_bbox=dict(type='L1Loss'",
         [f"{OF_ALL}2.loss_bbox.type L1Loss"]),
        ("neg_iou_thr=0.6", "neg_iou_thr=0.6, match_low_quality=False",
         ["model.train_cfg.rcnn.1.assigner.match_low_quality False"]),
        ("neg_iou_thr=0.6", "neg_iou_thr=0.4", ["model.train_cfg.rcnn.1.assigner.neg_iou_thr 0.4"]),
        ("neg_iou_thr=0.7), sampler=dict(type='RandomSampler', num=512",
         "neg_iou_thr=0.7), sampler=dict(type='RandomSampler', num=256",
         ["model.train_cfg.rcnn.2.sampler.num 256"]),
    ],
)  # fmt: skip
def test_settings_of_each_stage_of_a_cascade_are_named(old, new, keys):
    assert old in CASCADE
    assert sorted(named(CASCADE.replace(old, new))) == keys
