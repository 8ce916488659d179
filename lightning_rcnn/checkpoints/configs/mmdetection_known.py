"""Keys of mmdetection's configurations that no function translates: of one value here, or told by the weights.

Any other key of a section that mmdetection reads is named by `convert` as one without a counterpart.
"""

import re
from typing import Any

from lightning_rcnn.checkpoints.configs.source_keys import SourceKeys

_ZEROS, _ONES = [0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]
_ALLOWED: dict[str, tuple[Any, ...]] = {
    "model.backbone.avg_down": (False,),
    "model.backbone.contract_dilation": (False,),
    "model.backbone.deep_stem": (False,),
    "model.backbone.dcn.fallback_on_stride": (False,),
    "model.backbone.act_cfg.type": ("ReLU", "GELU"),
    "model.backbone.norm_cfg.type": ("BN", "BN2d", "SyncBN", "GN", "LN"),
    "model.neck.type": ("FPN",),
    "model.neck.add_extra_convs": (False,),
    "model.neck.end_level": (-1, 3),
    "model.neck.relu_before_extra_convs": (False,),
    "model.rpn_head.type": ("RPNHead",),
    "model.rpn_head.loss_cls.use_sigmoid": (True,),
    "model.rpn_head.bbox_coder.target_stds": (_ONES,),
    "model.roi_head.type": ("StandardRoIHead", "CascadeRoIHead"),
    "roi_head.bbox_head.type": ("BBoxHead", "ConvFCBBoxHead", "Shared2FCBBoxHead", "Shared4Conv1FCBBoxHead"),
    "roi_head.bbox_head.loss_cls.use_sigmoid": (False,),
    "roi_head.mask_head.type": ("FCNMaskHead",),
    "roi_head.mask_head.upsample_cfg.type": ("deconv",),
    "roi_head.mask_head.upsample_cfg.scale_factor": (2,),
    "roi_head.shared_head.type": ("ResLayer",),
    "roi_head.shared_head.stride": (2,),
    "roi_head.shared_head.dilation": (1,),
    "bbox_roi_extractor.type": ("SingleRoIExtractor",),
    "bbox_roi_extractor.roi_layer.type": ("RoIAlign", "RoIPool"),
    "roi_layer.use_torchvision": (True, False),
    "featmap_strides": ([4, 8, 16, 32], [16]),
    "loss_mask.type": ("CrossEntropyLoss",),
    "loss_mask.use_mask": (True,),
    "rpn.sampler.add_gt_as_proposals": (False,),
    "rcnn.sampler.add_gt_as_proposals": (True,),
    "rcnn.mask_thr_binary": (0.5,),
    "anchor_generator.type": ("AnchorGenerator",),
    "anchor_generator.scale_major": (True,),
    "bbox_coder.type": ("DeltaXYWHBBoxCoder",),
    "bbox_coder.target_means": (_ZEROS,),
    "bbox_coder.clip_border": (True,),
    "bbox_coder.add_ctr_clamp": (False,),
    "loss_cls.type": ("CrossEntropyLoss",),
    "loss_cls.loss_weight": (1.0,),
    "loss_mask.loss_weight": (1.0,),
    "reduction": ("mean",),
    "assigner.type": ("MaxIoUAssigner",),
    "assigner.ignore_iof_thr": (-1,),
    "assigner.iou_calculator.type": ("BboxOverlaps2D",),
    "sampler.type": ("RandomSampler",),
    "sampler.neg_pos_ub": (-1,),
    "pos_weight": (-1,),
    "rcnn.nms.type": ("nms", "soft_nms"),
    "nms.type": ("nms",),
    "nms.method": ("linear",),
    "rcnn.nms.class_agnostic": (False, True),
    "nms.class_agnostic": (False,),
    "nms_across_levels": (False,),
    "norm_cfg.eps": (1e-5,),
    "norm_cfg.momentum": (0.1,),
    "norm_cfg.num_groups": (32,),
    "conv_cfg": (None,),
    "act_cfg": (None,),
    "data_preprocessor.type": ("DetDataPreprocessor",),
    "data_preprocessor.rgb_to_bgr": (False,),
    "data_preprocessor.pad_value": (0,),
}
"""Ends of keys of the model, without numbers of stages -> the values that are those of our detectors."""
_TOLD = re.compile(
    r".*\.(init_cfg|pretrained)(\..*)?|.*\.norm_cfg(\.(type|requires_grad))?"
    r"|.*\.(in_channels|feat_channels|out_channels|fc_out_channels|conv_out_channels|num_classes|reg_class_agnostic)"
    r"|.*\.(num_convs|num_stages|num_shared_convs|num_shared_fcs|roi_feat_size|with_avg_pool|debug|gpu_assign_thr)"
    r"|model\.train_cfg\.rcnn(\.\d)?\.(mask_size|assigner\.min_pos_iou)|model\.roi_head\.mask_head\.class_agnostic"
    r"|model\.backbone\.(groups|base_width|base_channels|stem_channels|zero_init_residual|stage_with_dcn)"
    r"|model\.backbone\.dcn(\.(type|groups|deform_groups|deformable_groups))?"
    r"|model\.backbone\.(mlp_ratio|qkv_bias|patch_size|pretrain_img_size|convert_weights|use_abs_pos_embed|out_indices)"
    r"|model\.roi_head\.shared_head\.(depth|stage|style|norm_eval|with_cp)"
    r"|.*\.paramwise_cfg\.bypass_duplicate"
    r"|(train_cfg|runner)\.(type|val_interval|val_begin|dynamic_intervals)"
    r"|train_dataloader\.((num_workers|persistent_workers|pin_memory|prefetch_factor|batch_sampler)|(batch_sampler|collate_fn)\.type)"
    r"|data\.((val|test|val_dataloader|test_dataloader)(\..*)?|workers_per_gpu|persistent_workers)"
    r"|(data\.train|train_dataloader\.dataset)(\.(dataset|datasets|\d+))*\."
    r"(type|data_root|ann_file|img_prefix|seg_prefix|classes|palette|lazy_init|serialize_data|test_mode|(data_prefix"
    r"|metainfo|backend_args|file_client_args|pipeline)(\..*)?)"
    r"|model\.data_preprocessor\.(pad_mask|mask_pad_value|pad_seg|boxtype2tensor|non_blocking)"
)
"""Keys that weights tell, that have no effect on them, or of which migrating.md states the difference."""
_SECTIONS = (
    "model",
    "optim_wrapper",
    "optimizer",
    "optimizer_config",
    "lr_config",
    "momentum_config",
    "param_scheduler",
    "custom_hooks",
    "data",
    "train_dataloader",
    "train_cfg",
    "runner",
    "fp16",
)
"""Names of a configuration that mmdetection reads for a training; others name paths, logs and values for these."""


def check_allowed(keys: SourceKeys) -> None:
    """Name the keys of the model whose value has no counterpart, of all stages of a cascade."""
    for key in keys.names_below("model"):
        names = re.sub(r"\.\d+(?=\.)", "", key).split(".")
        ends = (".".join(names[start:]) for start in range(len(names)))
        allowed = next((_ALLOWED[end] for end in ends if end in _ALLOWED), None)
        if allowed is not None and keys[key] not in allowed:
            keys.name_left(key)


def needs_no_reader(key: str) -> bool:
    """Tell whether a key may be left unread: it has no effect here, or the weights tell its value."""
    return key.partition(".")[0] not in _SECTIONS or _TOLD.fullmatch(key) is not None
