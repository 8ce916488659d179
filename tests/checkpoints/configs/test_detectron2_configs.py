"""Configurations of detectron2, as its users have them beside `model_final.pth`, each key against its value here."""

from functools import partial
from pathlib import Path

import pytest
import yaml

from lightning_rcnn.box_losses import GIoULoss, SmoothL1Loss
from lightning_rcnn.checkpoints.configs.detectron2_files import config_beside, read_config
from lightning_rcnn.checkpoints.configs.detectron2_settings import configure
from lightning_rcnn.checkpoints.configs.detectron2_writing import config_of
from lightning_rcnn.checkpoints.translation import (
    OVERLAP_LOSSES,
    RESNET_FPN,
    SMOOTH_L1,
    VITDET,
    Translation,
    flat_settings,
    part,
)
from lightning_rcnn.detectors.cascade_rcnn import CascadeMaskRCNN
from lightning_rcnn.detectors.mask_rcnn import MaskRCNN
from lightning_rcnn.errors import InputError
from lightning_rcnn.plain_data import merge

BASE = """
MODEL:
  META_ARCHITECTURE: GeneralizedRCNN
  MASK_ON: true
  BACKBONE: {NAME: build_resnet_fpn_backbone}
  ANCHOR_GENERATOR:
    SIZES: [[16], [32], [64], [128], [256]]
  RPN: {PRE_NMS_TOPK_TRAIN: 2000, PRE_NMS_TOPK_TEST: 1000, POST_NMS_TOPK_TRAIN: 1000}
  ROI_BOX_HEAD: {POOLER_RESOLUTION: 7}
DATASETS:
  TRAIN: ("mine_train",)
SOLVER:
  IMS_PER_BATCH: 16
  BASE_LR: 0.02
  STEPS: (60000, 80000)
  MAX_ITER: 90000
INPUT:
  MIN_SIZE_TRAIN: (640, 672)
"""
OWN = """
_BASE_: ../base.yaml
MODEL:
  WEIGHTS: "detectron2://ImageNetPretrained/MSRA/R-50.pkl"
  ROI_HEADS: {NUM_CLASSES: 3, SCORE_THRESH_TEST: 0.3}
  ROI_BOX_HEAD: {POOLER_TYPE: ROIAlign, POOLER_SAMPLING_RATIO: 2, TRAIN_ON_PRED_BOXES: true}
  ROI_MASK_HEAD: {POOLER_TYPE: ROIAlign, POOLER_SAMPLING_RATIO: 2}
SOLVER: {BASE_LR: 2.5e-3, WEIGHT_DECAY: 1e-5, CLIP_GRADIENTS: {ENABLED: true, CLIP_VALUE: 0.5}, AMP: {ENABLED: true}}
INPUT: {FORMAT: RGB, MASK_FORMAT: bitmask, RANDOM_FLIP: vertical, MIN_SIZE_TEST: 600}
TEST: {DETECTIONS_PER_IMAGE: 7}
MY_SETTING: {DEPTH: 4}
"""


def translation(detector="MaskRCNN", classes=3, name="resnet50"):
    settings = {
        "class_names": [f"class {number}" for number in range(classes)],
        "backbone": part(RESNET_FPN, name=name, stride_in_1x1=True, channels=16),
        "preprocessing": {},
        "rpn": {"anchors": {}},
        "box": {"head": {"width": 16}},
        **({"mask": {"width": 16}} if "Mask" in detector or detector == "PointRend" else {}),
    }
    return Translation("detectron2's", Path("model_final.pth"), detector, settings, {}, {})


@pytest.fixture
def config(tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "own" / "config.yaml").write_text(OWN)
    return tmp_path / "own" / "config.yaml"


def test_settings_become_ours(config):
    own = translation()
    configure(own, config)
    wanted = {
        "rpn.pre_nms_top_n": [2000, 1000],
        "rpn.post_nms_top_n": [1000, 1000],
        "rpn.anchors.sizes": [16.0, 32.0, 64.0, 128.0, 256.0],
        "rpn.positive_iou": 0.7,
        "box.score_threshold": 0.3,
        "box.detections_per_image": 7,
        "box.pooled_size": 7,
        "mask.pooled_size": 14,
        "mask.target": "thresholded",
        "pooler.aligned": False,
        "pooler.sampling_ratio": 2,
        "preprocessing.channel_order": "rgb",
        "preprocessing.min_size": 600,
        "preprocessing.max_size": 1333,
        "backbone.init_args.frozen_stages": 2,
        "optimizer.init_args.lr": 2.5e-3,
        "optimizer.init_args.weight_decay": 1e-5,
        "parameter_groups.reference_batch_size": 16,
        "schedule.init_args.milestones": [0.666667, 0.888889],
    }
    settings = dict(flat_settings(own.hyperparameters))
    assert {key: settings.get(key) for key in wanted} == wanted
    assert own.run["trainer"] == {
        "max_epochs": -1,
        "max_steps": 90000,
        "precision": "16-mixed",
        "gradient_clip_val": 0.5,
        "gradient_clip_algorithm": "value",
    }
    assert own.run["data"] == {
        "train_transforms": [
            {"class_path": "VerticalFlip"},
            {"class_path": "Resize", "init_args": {"min_sizes": [640, 672]}},
        ],
        "sampling": {"class_path": "Sampling", "init_args": {"empty_share": 0.0}},
    }
    MaskRCNN(**merge(own.hyperparameters, {"backbone": {"init_args": {"name": "resnet18", "stride_in_1x1": False}}}))


def test_losses_of_boxes_come_and_go(config):
    config.write_text(
        "_BASE_: ../base.yaml\nMODEL:\n  ROI_HEADS: {NUM_CLASSES: 3}\n"
        "  RPN: {BBOX_REG_LOSS_TYPE: giou, BBOX_REG_LOSS_WEIGHT: 2.0}\n"
        "  ROI_BOX_HEAD: {SMOOTH_L1_BETA: 0.5, BBOX_REG_LOSS_WEIGHT: 3.0, POOLER_TYPE: ROIAlign}\n"
        "  ROI_MASK_HEAD: {POOLER_TYPE: ROIAlign}\n"
    )
    own = translation()
    own.hyperparameters = merge(own.hyperparameters, {"rpn": {"box_loss": part(SMOOTH_L1, beta=0.0)}})
    configure(own, config)
    assert len(own.notes) == 1
    small = {"backbone": {"init_args": {"name": "resnet18", "stride_in_1x1": False}}}
    detector = MaskRCNN(**merge(own.hyperparameters, small))
    assert detector.rpn.settings.box_loss == GIoULoss(weight=2.0)
    assert detector.box.settings.box_loss == SmoothL1Loss(weight=3.0, beta=0.5)
    model = config_of(detector.init_args)["MODEL"]
    assert model["RPN"].items() >= {"BBOX_REG_LOSS_TYPE": "giou", "BBOX_REG_LOSS_WEIGHT": 2.0}.items()
    head = {"BBOX_REG_LOSS_TYPE": "smooth_l1", "BBOX_REG_LOSS_WEIGHT": 3.0, "SMOOTH_L1_BETA": 0.5}
    assert model["ROI_BOX_HEAD"].items() >= head.items()


def test_what_has_no_counterpart_is_named(config):
    own = translation()
    configure(own, config)
    named = [note.partition("no counterpart of ")[2] for note in own.notes[1:]]
    assert named == ["MY_SETTING.DEPTH 4."]
    assert own.hyperparameters["box"]["passes_on"] == "predicted"


@pytest.mark.parametrize(
    ("lines", "loss", "named"),
    [
        ("USE_SIGMOID_CE: true", {"num_classes": 3, "frequency_power": 0.0}, []),
        ("USE_SIGMOID_CE: true, USE_FED_LOSS: true", {"num_classes": 50, "frequency_power": 0.5}, []),
        ("USE_FED_LOSS: true", None, ["MODEL.ROI_BOX_HEAD.USE_FED_LOSS True."]),
    ],
)
def test_sigmoids_of_classes(config, lines, loss, named):
    """Sigmoids of all classes are a federated loss that draws all of them; the softmax has none."""
    config.write_text(f"_BASE_: ../base.yaml\nMODEL:\n  ROI_HEADS: {{NUM_CLASSES: 3}}\n  ROI_BOX_HEAD: {{{lines}}}\n")
    own = translation()
    configure(own, config)
    assert own.hyperparameters["box"].get("class_loss", {}).get("init_args") == loss
    assert [note.partition("no counterpart of ")[2] for note in own.notes[1:]] == named


def test_thresholds_of_regions_with_labels_between(config):
    heads = "NUM_CLASSES: 3, IOU_THRESHOLDS: [0.3, 0.6], IOU_LABELS: [0, -1, 1]"
    config.write_text(f"_BASE_: ../base.yaml\nMODEL:\n  ROI_HEADS: {{{heads}}}\n")
    own = translation()
    configure(own, config)
    assert (own.hyperparameters["box"]["negative_iou"], own.hyperparameters["box"]["positive_iou"]) == (0.3, 0.6)
    assert len(own.notes) == 1
    config.write_text(config.read_text().replace("[0, -1, 1]", "[0, 0, 1]"))
    own = translation()
    configure(own, config)
    assert own.notes[1].endswith("no counterpart of MODEL.ROI_HEADS.IOU_LABELS [0, 0, 1].")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (
            "_BASE_: ../base.yaml\nMODEL: {META_ARCHITECTURE: RetinaNet}",
            "RetinaNet: we have no such detector",
        ),
        ("MODEL: {META_ARCHITECTURE: PanopticFPN}", "META_ARCHITECTURE PanopticFPN: we have no such detector"),
        ("_BASE_: ../base.yaml\nMODEL: {RESNETS: {DEPTH: 101}}", "DEPTH 101, but model_final.pth is a resnet50"),
        ("_BASE_: ../base.yaml", "NUM_CLASSES 80, but model_final.pth has 3 classes"),
        ("MODEL: {MASK_ON: false, ROI_HEADS: {NUM_CLASSES: 3}}", "MASK_ON False, but model_final.pth is a MaskRCNN"),
        ("_BASE_: config.yaml", "leads in a circle"),
        ("_BASE_: nowhere.yaml", "nowhere.yaml: cannot be read"),
        ("MODEL: [", "not YAML"),
        ("a list", "it has no keys"),
    ],
)
def test_configurations_of_others_are_refused_in_one_line(config, line, problem):
    path = config.parent / "config.yaml"
    path.write_text(line)
    with pytest.raises(InputError, match=problem) as caught:
        configure(translation(), path)
    assert "\n" not in str(caught.value)


def test_points_of_point_rend(config):
    config.write_text(
        "_BASE_: ../base.yaml\nMODEL:\n  ROI_HEADS: {NUM_CLASSES: 3, NAME: PointRendROIHeads}\n"
        "  ROI_BOX_HEAD: {TRAIN_ON_PRED_BOXES: true}\n"
        "  ROI_MASK_HEAD: {NAME: PointRendMaskHead, POOLER_TYPE: '', FC_DIM: 1024, IN_FEATURES: [p3]}\n"
        "  POINT_HEAD: {TRAIN_NUM_POINTS: 98, OVERSAMPLE_RATIO: 4, SUBDIVISION_STEPS: 4, IN_FEATURES: [p2]}\n"
    )
    own = translation("PointRend")
    configure(own, config)
    points = {"num_points": 98, "oversample": 4, "importance": 0.75, "subdivisions": 4, "subdivision_points": 784}
    assert own.hyperparameters["mask"].items() >= points.items()
    named = [note.partition("no counterpart of ")[2] for note in own.notes[1:]]
    assert named == ["MODEL.ROI_MASK_HEAD.IN_FEATURES ['p3']."]


def test_a_configuration_of_another_program_is_not_taken(config):
    weights = config.parent / "model_final.pth"
    assert config_beside(weights) == config
    config.write_text("seed_everything: true\ntrainer: {max_epochs: 3}\n")
    assert config_beside(weights) is None
    config.unlink()
    assert config_beside(weights) is None


def lazy():
    """A cascade with masks as LazyConfig writes it, with its references and its tags of Python objects."""
    predictor = {
        "_target_": "detectron2.modeling.roi_heads.FastRCNNOutputLayers",
        "test_score_thresh": 0.02,
        "cls_agnostic_bbox_reg": True,
        "num_classes": "${...num_classes}",
    }
    weights = [(10, 5), (20, 10), (30, 15)]
    poolers = {"output_size": 7, "sampling_ratio": 0, "pooler_type": "ROIAlignV2", "scales": [0.25]}
    return {
        "model": {
            "_target_": "detectron2.modeling.GeneralizedRCNN",
            "backbone": {
                "_target_": "detectron2.modeling.FPN",
                "bottom_up": {"freeze_at": 2, "stages": {"depth": 50, "stride_in_1x1": True}, "out_features": ["res2"]},
                "in_features": "${.bottom_up.out_features}",
            },
            "proposal_generator": {
                "anchor_generator": {"sizes": [[32], [64], [128], [256], [512]], "aspect_ratios": [0.5, 1.0]},
                "anchor_matcher": {
                    "thresholds": [0.2, 0.6],
                    "labels": [0, -1, 1],
                    "allow_low_quality_matches": True,
                },
                "pre_nms_topk": [2000, 1000],
                "post_nms_topk": [2000, 1000],
                "nms_thresh": 0.65,
            },
            "roi_heads": {
                "_target_": "detectron2.modeling.CascadeROIHeads",
                "num_classes": 3,
                "box_pooler": poolers,
                "mask_pooler": poolers | {"output_size": 14},
                "mask_head": {"_target_": "detectron2.modeling.MaskRCNNConvUpsampleHead", "conv_dims": [256]},
                "box_predictors": [
                    predictor | {"box2box_transform": {"weights": [first, first, second, second]}}
                    for first, second in weights
                ],
                "proposal_matchers": [
                    {"thresholds": [iou], "labels": [0, 1], "allow_low_quality_matches": False}
                    for iou in (0.5, 0.65, 0.75)
                ],
                "own": 1,
            },
            "pixel_mean": [103.53, 116.28, 123.675],
            "pixel_std": [1.0, 1.0, 1.0],
            "input_format": "${dataloader.train.mapper.image_format}",
        },
        "optimizer": {"_target_": "torch.optim.SGD", "lr": 0.1, "momentum": 0.8, "weight_decay": 4e-5},
        "lr_multiplier": {
            "scheduler": {
                "_target_": "fvcore.common.param_scheduler.MultiStepParamScheduler",
                "values": [1.0, 0.1, 0.01],
                "milestones": [80, 90],
                "num_updates": 100,
            },
            "warmup_length": 0.01,
            "warmup_factor": 0.067,
        },
        "train": {"max_iter": 1000, "output_dir": "x", "amp": {"enabled": False}},
        "dataloader": {
            "train": {
                "total_batch_size": 64,
                "mapper": {
                    "image_format": "BGR",
                    "augmentations": [
                        {
                            "_target_": "detectron2.data.transforms.ResizeScale",
                            "min_scale": 0.1,
                            "max_scale": 2.0,
                            "target_height": 1024,
                            "target_width": 1024,
                        },
                        {"_target_": "detectron2.data.transforms.FixedSizeCrop", "crop_size": [1024, 1024]},
                        {"_target_": "detectron2.data.transforms.RandomFlip", "horizontal": True},
                    ],
                },
            },
            "test": {
                "mapper": {
                    "augmentations": [
                        {
                            "_target_": "detectron2.data.transforms.ResizeShortestEdge",
                            "short_edge_length": 768,
                            "max_size": 1024,
                        }
                    ]
                }
            },
        },
    }


def test_losses_of_the_stages_of_a_lazy_cascade(tmp_path):
    """Ours have the loss of the first stage in all; what a later one has of its own is named."""
    config = lazy()
    stage = {"box_reg_loss_type": "giou", "loss_weight": {"loss_box_reg": 10.0}}
    last = stage | {"smooth_l1_beta": 0.5, "loss_weight": {"loss_box_reg": 5.0, "loss_cls": 2.0}}
    config["model"]["roi_heads"]["box_predictors"] = [stage, stage, last]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    own = translation("CascadeMaskRCNN")
    configure(own, tmp_path / "config.yaml")
    assert own.hyperparameters["box"]["box_loss"] == part(OVERLAP_LOSSES["GIoULoss"], weight=10.0)
    named = [note.partition("box_predictors.")[2] for note in own.notes if "box_predictors" in note]
    assert sorted(named) == ["2.loss_weight.loss_box_reg 5.0.", "2.loss_weight.loss_cls 2.0.", "2.smooth_l1_beta 0.5."]


def of_lazy(tmp_path, config, detector="CascadeMaskRCNN"):
    """The settings of a lazy configuration, and what is named of its model."""
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    own = translation(detector)
    configure(own, tmp_path / "config.yaml")
    named = [note.partition("no counterpart of model.")[2] for note in own.notes]
    return dict(flat_settings(own.hyperparameters)), sorted(filter(None, named))


def test_thresholds_of_a_lazy_cascade_are_those_of_its_last_stage(tmp_path):
    """`CascadeROIHeads._forward_box` selects detections by those of the predictor that it ran last."""
    config = lazy()
    first, second, third = (dict(stage) for stage in config["model"]["roi_heads"]["box_predictors"])
    third |= {"test_score_thresh": 0.3, "test_nms_thresh": 0.4, "test_topk_per_image": 7}
    config["model"]["roi_heads"]["box_predictors"] = [first, second, third]
    settings, named = of_lazy(tmp_path, config)
    keys = ("box.score_threshold", "box.nms_iou", "box.detections_per_image")
    assert [settings[key] for key in keys] == [0.3, 0.4, 7]
    assert named == ["roi_heads.own 1."]


def test_what_a_later_stage_of_a_lazy_cascade_has_of_its_own_is_named(tmp_path):
    config = lazy()
    stages = [dict(stage) | {"use_sigmoid_ce": True} for stage in config["model"]["roi_heads"]["box_predictors"]]
    stages[2] |= {"use_sigmoid_ce": False, "cls_agnostic_bbox_reg": False}
    config["model"]["roi_heads"]["box_predictors"] = stages
    _, named = of_lazy(tmp_path, config)
    assert named == [
        "roi_heads.box_predictors.2.cls_agnostic_bbox_reg False.",
        "roi_heads.box_predictors.2.use_sigmoid_ce False.",
        "roi_heads.own 1.",
    ]


@pytest.mark.parametrize("is_cascade", [True, False])
def test_the_number_of_classes_of_a_lazy_federated_loss(tmp_path, is_cascade):
    config, federated = lazy(), {"use_sigmoid_ce": True, "use_fed_loss": True, "fed_loss_num_classes": 30}
    heads = config["model"]["roi_heads"]
    stages = [stage | federated for stage in heads.pop("box_predictors")]
    heads |= {"box_predictors": stages} if is_cascade else {"box_predictor": stages[0]}
    if not is_cascade:
        heads["proposal_matcher"] = heads.pop("proposal_matchers")[0]
    settings, named = of_lazy(tmp_path, config, "CascadeMaskRCNN" if is_cascade else "MaskRCNN")
    assert settings["box.class_loss.init_args.num_classes"] == 30
    assert named == ["roi_heads.own 1."]


def test_matches_of_low_quality_of_a_lazy_configuration(tmp_path):
    """`Matcher` allows them only if it is told to."""
    config = lazy()
    assert of_lazy(tmp_path, config)[0]["rpn.low_quality_iou"] == 0.0
    del config["model"]["proposal_generator"]["anchor_matcher"]["allow_low_quality_matches"]
    config["model"]["roi_heads"]["proposal_matchers"][1]["allow_low_quality_matches"] = True
    settings, named = of_lazy(tmp_path, config)
    assert settings["rpn.low_quality_iou"] == 1.0
    assert named == ["roi_heads.own 1.", "roi_heads.proposal_matchers.1.allow_low_quality_matches True."]


def test_a_second_flip_of_a_lazy_configuration_is_named(tmp_path):
    config = lazy()
    flip = {"_target_": "detectron2.data.transforms.RandomFlip", "horizontal": False, "vertical": True}
    config["dataloader"]["train"]["mapper"]["augmentations"].append(flip)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    own = translation("CascadeMaskRCNN")
    configure(own, tmp_path / "config.yaml")
    assert own.run["data"]["train_transforms"][0] == {"class_path": "HorizontalFlip"}
    assert [note for note in own.notes if "augmentations.3._target_ detectron2.data.transforms.RandomFlip." in note]


@pytest.mark.parametrize("values", [[1.0, 0.1, 0.05], [0.5, 0.05], [1.0, 0.0, 0.0]])
def test_rates_of_a_lazy_schedule_that_are_no_powers_of_one_factor_are_named(tmp_path, values):
    config = lazy()
    config["lr_multiplier"]["scheduler"]["values"] = values
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    own = translation("CascadeMaskRCNN")
    configure(own, tmp_path / "config.yaml")
    assert [note for note in own.notes if f"lr_multiplier.scheduler.values {values}." in note]


@pytest.mark.parametrize(
    ("key", "value"),
    [("pre_nms_topk", [2000]), ("pre_nms_topk", 3), ("anchor_generator", {"sizes": [[32]], "aspect_ratios": 1})],
)
def test_values_of_another_kind_in_a_lazy_configuration_are_one_line(tmp_path, key, value):
    config = lazy()
    config["model"]["proposal_generator"][key] = value
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(InputError, match=r"config\.yaml: .* mend the file"):
        configure(translation("CascadeMaskRCNN"), tmp_path / "config.yaml")


def test_lazy_configurations_become_ours(tmp_path):
    path = tmp_path / "config.yaml"
    shape = "    input_shape: !!python/object:detectron2.layers.shape_spec.ShapeSpec {channels: 256, height: 7}\n"
    text = yaml.safe_dump(lazy(), sort_keys=False)
    path.write_text(text.replace("    mask_head:\n", "    box_head:\n  " + shape + "    mask_head:\n"))
    own = translation("CascadeMaskRCNN")
    configure(own, path)
    wanted = {
        "rpn.negative_iou": 0.2,
        "rpn.positive_iou": 0.6,
        "rpn.nms_iou": 0.65,
        "rpn.anchors.ratios": [0.5, 1.0],
        "rpn.post_nms_top_n": [2000, 1000],
        "box.positive_iou": 0.5,
        "box.stage_ious": [0.65, 0.75],
        "box.box_weights": [10, 10, 5, 5],
        "box.stage_box_weights": [[20, 20, 10, 10], [30, 30, 15, 15]],
        "box.score_threshold": 0.02,
        "preprocessing.min_size": 768,
        "preprocessing.max_size": 1024,
        "preprocessing.channel_order": "bgr",
        "optimizer.init_args.momentum": 0.8,
        "schedule.init_args.milestones": [0.8, 0.9],
        "schedule.init_args.warmup_steps": 10,
    }
    settings = dict(flat_settings(own.hyperparameters))
    assert {key: settings.get(key) for key in wanted} == wanted
    jitter = {"target_size": [1024, 1024], "scale_range": [0.1, 2.0]}
    assert own.run["data"]["train_transforms"][1] == {"class_path": "ScaleJitter", "init_args": jitter}
    named = [note.partition("no counterpart of ")[2] for note in own.notes[1:]]
    assert sorted(named) == ["SOLVER.WARMUP_FACTOR 0.067.", "model.roi_heads.own 1."]
    smaller = {"backbone": {"init_args": {"name": "resnet18", "stride_in_1x1": False}}}
    CascadeMaskRCNN(**merge(own.hyperparameters, smaller))


def test_keypoints_of_a_lazy_configuration(tmp_path):
    """They were refused: LazyConfig has no key that says whether there are keypoints."""
    config = lazy()
    heads = config["model"]["roi_heads"]
    for name in ("mask_head", "box_predictors", "proposal_matchers", "own"):
        del heads[name]
    heads |= {
        "keypoint_in_features": ["p2", "p3", "p4", "p5"],
        "keypoint_pooler": heads.pop("mask_pooler"),
        "keypoint_head": {
            "_target_": "detectron2.modeling.roi_heads.KRCNNConvDeconvUpsampleHead",
            "num_keypoints": 17,
            "conv_dims": [512],
            "loss_normalizer": 100,
            "loss_weight": 2.0,
        },
    }
    config["dataloader"]["train"]["dataset"] = {"names": "persons", "min_keypoints": 3}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    own = translation("KeypointRCNN")
    own.hyperparameters["keypoint"] = {}
    configure(own, tmp_path / "config.yaml")
    assert own.hyperparameters["keypoint"] == {"pooled_size": 14, "loss_number": "static"}
    named = [note.partition("no counterpart of ")[2] for note in own.notes[1:]]
    assert named == [
        "MODEL.ROI_KEYPOINT_HEAD.MIN_KEYPOINTS_PER_IMAGE 3.",
        "SOLVER.WARMUP_FACTOR 0.067.",
        "MODEL.ROI_KEYPOINT_HEAD.LOSS_WEIGHT 2.0.",
        "model.roi_heads.keypoint_head.loss_normalizer 100.",
    ]


def test_parts_of_a_lazy_configuration_that_are_none_of_detectron2_are_named(tmp_path):
    """They were taken for those that weights tell, or that do not matter, and dropped in silence."""
    config = lazy()
    heads, train = config["model"]["roi_heads"], config["dataloader"]["train"]
    heads["mask_head"]["_target_"] = "mine.SharpMaskHead"
    heads["proposal_matchers"][1]["thresholds"] = [0.4, 0.65]
    config["lr_multiplier"]["scheduler"] = {"_target_": "mine.LinearParamScheduler", "end_value": 0.5}
    config["train"]["clip_grad"] = {"enabled": True}
    train["sampler"] = {"_target_": "detectron2.data.samplers.RandomSubsetTrainingSampler"}
    train["dataset"] = {"_target_": "mine.load", "names": "own_train", "proposal_files": ["a.pkl"]}
    train["mapper"]["_target_"] = "mine.Mapper"
    _, named = of_lazy(tmp_path, config)
    assert named == [
        "roi_heads.mask_head._target_ mine.SharpMaskHead.",
        "roi_heads.own 1.",
        "roi_heads.proposal_matchers.1.thresholds [0.4, 0.65].",
    ]
    own = translation("CascadeMaskRCNN")
    configure(own, tmp_path / "config.yaml")
    notes = " ".join(own.notes)
    for wanted in (
        "dataloader.train.dataset._target_ mine.load.",
        "dataloader.train.dataset.proposal_files ['a.pkl'].",
        "dataloader.train.mapper._target_ mine.Mapper.",
        "lr_multiplier.scheduler.end_value 0.5.",
        "train.clip_grad.enabled True.",
        "SOLVER.LR_SCHEDULER_NAME mine.LinearParamScheduler.",
        "DATALOADER.SAMPLER_TRAIN RandomSubsetTrainingSampler.",
    ):
        assert wanted in notes
    assert "schedule" not in own.hyperparameters


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("a.yaml", "a: &a\n  b: *a\n", "nested too deeply, or in itself"),
        ("a.yaml", "[" * 5000, "nested too deeply, or in itself"),
        ("a.yaml", "_BASE_: 3\n", "_BASE_ 3: give a file, or a list of files"),
        ("a.py", "model = L(GeneralizedRCNN)()\n", r"a\.py: configurations are never executed; give the config\.yaml"),
    ],
)
def test_files_that_are_no_configurations_are_one_line(tmp_path, name, text, problem):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=problem) as caught:
        read_config(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_references_that_lead_nowhere_stay(tmp_path):
    (tmp_path / "a.yaml").write_text("a: ${.b}\nb: ${.a}\nc: ${d.e}\nf: {g: [1, '${..h}'], h: 2}\n")
    assert read_config(tmp_path / "a.yaml")["c"] == "${d.e}"
    assert read_config(tmp_path / "a.yaml")["f"] == {"g": [1, 2], "h": 2}


def rate_of_layer(name, lr_decay_rate=1.0, num_layers=12):
    """Stand in for detectron2's `get_vit_lr_decay_rate`, of which LazyConfig writes the name."""


def vitdet():
    """The project ViTDet on LVIS, as LazyConfig writes it: `yaml.dump` with tags of Python objects."""
    config = lazy()
    config["model"] |= {
        "backbone": {
            "_target_": "detectron2.modeling.SimpleFeaturePyramid",
            "net": {"drop_path_rate": 0.4, "use_act_checkpoint": True, "norm_layer": partial(dict, eps=1e-6)},
            "square_pad": 512,
        },
        "input_format": "RGB",
    }
    predictor = {"test_score_thresh": 0.02, "use_sigmoid_ce": True, "use_fed_loss": True}
    config["model"]["roi_heads"] |= {"box_predictors": [predictor] * 3}
    config["optimizer"] = {
        "_target_": "torch.optim.AdamW",
        "lr": 1e-4,
        "betas": (0.9, 0.99),
        "weight_decay": 0.1,
        "params": {
            "_target_": "detectron2.solver.build.get_default_optimizer_params",
            "base_lr": "${..lr}",
            "weight_decay_norm": 0.0,
            "lr_factor_func": partial(rate_of_layer, num_layers=12, lr_decay_rate=0.7),
            "overrides": {"pos_embed": {"weight_decay": 0.0}},
        },
    }
    config["dataloader"]["train"] |= {
        "dataset": {"names": "lvis_v1_train", "filter_empty": False},
        "sampler": {
            "_target_": "detectron2.data.samplers.RepeatFactorTrainingSampler",
            "repeat_factors": {"dataset_dicts": "${dataloader.train.dataset}", "repeat_thresh": 0.002},
        },
    }
    config["dataloader"]["train"]["mapper"]["instance_mask_format"] = "bitmask"
    return config


def of_vitdet(tmp_path, config):
    (tmp_path / "config.yaml").write_text(yaml.dump(config, default_flow_style=None, width=9999))
    own = translation("CascadeMaskRCNN")
    own.hyperparameters["backbone"] = part(VITDET, name="tiny", drop_path=0.1)
    configure(own, tmp_path / "config.yaml")
    named = [note.partition("no counterpart of ")[2] for note in own.notes[1:]]
    return own, sorted(name for name in named if name not in ("SOLVER.WARMUP_FACTOR 0.067.", "model.roi_heads.own 1."))


def test_a_vision_transformer_of_a_lazy_configuration(tmp_path):
    own, named = of_vitdet(tmp_path, vitdet())
    assert named == []
    wanted = {
        "backbone.init_args.drop_path": 0.4,
        "backbone.init_args.checkpointing": True,
        "preprocessing.size_divisor": 512,
        "preprocessing.channel_order": "rgb",
        "optimizer.class_path": "torch.optim.AdamW",
        "optimizer.init_args.lr": 1e-4,
        "optimizer.init_args.betas": [0.9, 0.99],
        "optimizer.init_args.weight_decay": 0.1,
        "parameter_groups.layer_decay": 0.7,
        "parameter_groups.norm_weight_decay": 0.0,
        "box.class_loss.init_args.num_classes": 50,
        "mask.target": "thresholded",
    }
    settings = dict(flat_settings(own.hyperparameters))
    assert {key: settings.get(key) for key in wanted} == wanted
    assert "backbone.init_args.frozen_stages" not in settings
    assert own.run["data"]["sampling"] == {"class_path": "RepeatFactor", "init_args": {"threshold": 0.002}}


def test_settings_of_a_lazy_training_without_counterpart_are_named(tmp_path):
    """They were taken for settings of the run, and dropped in silence."""
    config = vitdet()
    config["optimizer"]["params"] |= {"bias_lr_factor": 2.0, "lr_factor_func": rate_of_layer}
    config["optimizer"]["params"]["overrides"]["gamma"] = {"lr": 0.5}
    config["train"]["model_ema"] = {"enabled": True}
    mapper = config["dataloader"]["train"]["mapper"]
    mapper["augmentations"] = [
        {"_target_": "detectron2.data.transforms.FixedSizeCrop", "crop_size": [512, 512]},
        {"_target_": "detectron2.data.transforms.ResizeShortestEdge", "short_edge_length": [640], "max_size": 1024},
    ]
    own, named = of_vitdet(tmp_path, config)
    assert named == [
        "SOLVER.BIAS_LR_FACTOR 2.0.",
        "dataloader.train.mapper.augmentations.0._target_ detectron2.data.transforms.FixedSizeCrop.",
        "optimizer.params.lr_factor_func a function.",
        "optimizer.params.overrides.gamma.lr 0.5.",
        "train.model_ema.enabled True.",
    ]
    assert own.run["data"]["train_transforms"] == [{"class_path": "Resize", "init_args": {"min_sizes": [640]}}]


def test_norms_decay_like_other_weights_unless_told_otherwise(tmp_path):
    """The parameters' function of LazyConfig has None for `weight_decay_norm`, and SGD of torch no momentum."""
    config = lazy()
    config["optimizer"] = {"_target_": "torch.optim.SGD", "lr": 0.1, "weight_decay": 4e-5}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    own = translation("CascadeMaskRCNN")
    configure(own, tmp_path / "config.yaml")
    assert own.hyperparameters["parameter_groups"]["norm_weight_decay"] == 4e-5
    assert own.hyperparameters["optimizer"]["init_args"]["momentum"] == 0.0


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("RPN: {IOU_THRESHOLDS: 0.5}", "MODEL.RPN.IOU_THRESHOLDS 0.5: not of the kind that this setting has"),
        ("ROI_BOX_CASCADE_HEAD: {IOUS: 3}", "MODEL.ROI_BOX_CASCADE_HEAD.IOUS 3: not of the kind"),
        ("ANCHOR_GENERATOR: {SIZES: [32, 64]}", r"MODEL.ANCHOR_GENERATOR.SIZES \[32, 64\]: not of the kind"),
    ],
)
def test_values_of_another_kind_are_named_in_one_line(config, lines, problem):
    config.write_text(f"_BASE_: ../base.yaml\nMODEL:\n  ROI_HEADS: {{NUM_CLASSES: 3}}\n  {lines}\n")
    with pytest.raises(InputError, match=problem) as caught:
        configure(translation("CascadeMaskRCNN"), config)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        ("ROI_HEADS: {NUM_CLASSES: 3, IN_FEATURES: [p2, p3, p4, p5]}, RPN: {IN_FEATURES: [p2, p3, p4, p5, p6]}", []),
        ("ROI_HEADS: {NUM_CLASSES: 3, IN_FEATURES: [p3, p4, p5]}", ["MODEL.ROI_HEADS.IN_FEATURES ['p3', 'p4', 'p5']."]),
        (
            "ROI_HEADS: {NUM_CLASSES: 3}, RPN: {IN_FEATURES: [p2, p3, p4, p5]}",
            ["MODEL.RPN.IN_FEATURES ['p2', 'p3', 'p4', 'p5']."],
        ),
        ("ROI_HEADS: {NUM_CLASSES: 3}, RESNETS: {RES5_DILATION: 2}", ["MODEL.RESNETS.RES5_DILATION 2."]),
    ],
)
def test_maps_that_weights_do_not_tell_are_named(config, lines, named):
    config.write_text(f"_BASE_: ../base.yaml\nMODEL: {{{lines}}}\n")
    own = translation()
    configure(own, config)
    assert [note.partition("no counterpart of ")[2] for note in own.notes[1:]] == named


def test_keys_of_parts_that_a_detector_has_not_are_no_matter(tmp_path):
    """A whole config.yaml has the keys of all parts, also of an RPN that Fast R-CNN does without."""
    path = tmp_path / "config.yaml"
    path.write_text(
        "MODEL:\n  PROPOSAL_GENERATOR: {NAME: PrecomputedProposals}\n  ROI_HEADS: {NUM_CLASSES: 3}\n"
        "  RPN: {IN_FEATURES: [p2], PRE_NMS_TOPK_TEST: 1000}\n  ANCHOR_GENERATOR: {SIZES: [[32], [64]]}\n"
    )
    own = translation("FastRCNN")
    del own.hyperparameters["rpn"]
    configure(own, path)
    assert len(own.notes) == 1
