"""Names that other tools have for our options and commands: those that look like none of ours, or like a wrong one.

The tools: torchvision's references, detectron2, mmdetection, Ultralytics, Hugging Face, Lightning before version 2.
"""

from typing import NamedTuple


class Row(NamedTuple):
    """Our options, and their names in other tools.

    Attributes:
        ours: options without dashes; the first one that the command has is suggested. Empty if we have none.
        advice: remark on the first option, or advice if we have none.
        theirs: names in other tools, in lower case, without leading dashes and with underscores.
        otherwise: advice where the command has none of our options.
    """

    ours: str
    advice: str
    theirs: str
    otherwise: str = ""


TABLE = (
    Row(
        "model.optimizer.lr",
        "for the global batch; model.parameter_groups.lr_rule adapts it",
        "lr lr0 lrate learning_rate base_lr max_lr init_lr solver.base_lr optimizer.lr optim_wrapper.optimizer.lr",
    ),
    Row(
        "model.parameter_groups.lr_rule",
        "linear or square_root; with model.parameter_groups.reference_batch_size",
        "auto_scale_lr auto_scale_lr.enable autoscale_lr scale_lr lr_scale lr_scaling linear_scaling",
    ),
    Row(
        "model.parameter_groups.reference_batch_size",
        "images of an optimizer step, for model.optimizer.lr",
        "base_batch_size auto_scale_lr.base_batch_size reference_world_size solver.reference_world_size nbs",
    ),
    Row(
        "data.batch_size",
        "images of one device",
        "b bs batch batchsize batch_size batch_size_per_gpu train_batch_size samples_per_gpu imgs_per_gpu "
        "images_per_gpu ims_per_batch solver.ims_per_batch per_device_train_batch_size train_dataloader.batch_size "
        "data.samples_per_gpu total_batch_size",
    ),
    Row(
        "data.eval_batch_size",
        "images of one device",
        "eval_batch_size val_batch_size test_batch_size per_device_eval_batch_size val_dataloader.batch_size",
    ),
    Row(
        "trainer.max_epochs",
        "",
        "e epoch epochs max_epoch max_epochs n_epoch n_epochs nepochs num_epoch num_epochs num_train_epochs "
        "total_epochs train_epochs runner.max_epochs train_cfg.max_epochs",
    ),
    Row(
        "trainer.max_steps",
        "optimizer steps",
        "iter iters iterations max_iter max_iters num_iters total_iters train_iters steps num_steps max_steps "
        "train_steps total_steps solver.max_iter runner.max_iters",
    ),
    Row(
        "trainer.devices",
        "with --trainer.accelerator gpu or cpu",
        "g gpu gpus ngpu ngpus n_gpu n_gpus gpu_id gpu_ids num_gpu num_gpus num_devices gpus_per_node devices "
        "nproc nproc_per_node num_processes trainer.gpus trainer.num_processes trainer.tpu_cores trainer.ipus "
        "trainer.auto_select_gpus",
    ),
    Row(
        "trainer.accelerator device",
        "gpu, cpu or auto; --trainer.devices says how many",
        "device cuda cpu use_cuda use_gpu use_cpu no_cuda accelerator model.device trainer.device",
    ),
    Row("trainer.num_nodes", "", "n_nodes nodes nnodes num_nodes num_machines"),
    Row(
        "data.num_workers workers",
        "loader processes of one device",
        "j nw worker workers n_workers num_worker num_workers nworkers dataloader_num_workers workers_per_gpu "
        "dataloader.num_workers data.workers_per_gpu train_dataloader.num_workers",
    ),
    Row(
        "run_dir out",
        "",
        "o out output outputs output_dir outdir out_dir output_path save_dir save_path save_folder log_dir logdir "
        "logs log_path work_dir workdir exp_dir results_dir checkpoint_dir ckpt_dir default_root_dir "
        "trainer.default_root_dir trainer.weights_save_path trainer.log_dir dirpath",
    ),
    Row(
        "class_names classes",
        "names of the classes in the files",
        "nc classes n_classes num_class num_classes num_labels class_num names class_names categories "
        "model.num_classes model.init_args.num_classes data.num_classes model.roi_heads.num_classes "
        "model.roi_head.bbox_head.num_classes",
        otherwise="the classes come with the packed data",
    ),
    Row(
        "model.weights checkpoint ckpt_path",
        "--ckpt_path resumes a training",
        "w weight weights pretrained pretrained_model pretrained_weights pretrained_path init_checkpoint init_from "
        "init_weights load load_from load_weights finetune finetune_from model_path checkpoint checkpoint_path "
        "ckpt trainer.init_checkpoint train.init_checkpoint",
    ),
    Row(
        "model.backbone.weights checkpoint",
        "of a classifier; --model.weights takes a detector's",
        "weights_backbone pretrained_backbone imagenet_weights backbone_weights backbone_pretrained",
    ),
    Row(
        "ckpt_path",
        "`last` resumes the run of --run_dir, or starts it",
        "r resume resume_from resume_path resume_training resume_from_checkpoint trainer.resume_from_checkpoint "
        "auto_resume continue continue_training restore restore_from",
    ),
    Row(
        "data.train",
        "a folder that `lightning-rcnn pack` wrote",
        "data dataset datasets dataset_dir dataset_path dataset_root data_path data_dir data_root data_folder root "
        "path train train_data train_path train_dir train_dataset train_set coco_path ann_file annotations "
        "datasets.train data.train.ann_file train_dataloader.dataset.ann_file",
    ),
    Row(
        "data.val",
        "a folder that `lightning-rcnn pack` wrote",
        "val val_data val_path val_dir val_dataset val_set valid valid_path validation validation_data eval_data "
        "datasets.val",
    ),
    Row(
        "data.test",
        "a folder that `lightning-rcnn pack` wrote",
        "test_data test_path test_dir test_dataset test_set datasets.test",
    ),
    Row(
        "model.preprocessing.min_size width",
        "shorter edge, pixels; --model.preprocessing.max_size limits the longer one",
        "imgsz img img_size image_size input_size input_shape resolution img_scale scale size short_side min_size "
        "max_size input.min_size_train input.min_size_test input.max_size_train input.max_size_test resize",
    ),
    Row("seed_everything seed", "", "s seed random_seed manual_seed torch_seed trainer.seed train.seed"),
    Row(
        "model.optimizer",
        "a class of torch.optim, such as AdamW",
        "opt optim optimizer optimizer.type solver.optimizer optimizer_type",
    ),
    Row("model.optimizer.momentum", "", "m momentum solver.momentum optimizer.momentum model.momentum"),
    Row("model.optimizer.weight_decay", "", "wd decay weight_decay solver.weight_decay optimizer.weight_decay"),
    Row(
        "model.schedule",
        "StepSchedule, CosineSchedule, OneCycleSchedule, ConstantSchedule, or one of torch's",
        "sched schedule scheduler lr_scheduler lr_scheduler_type lr_schedule lr_policy lr_config lr_step_size "
        "lr_steps lr_gamma lr_drop lr_decay lrf cos_lr gamma step_size milestones solver.steps solver.gamma "
        "solver.lr_scheduler_name param_scheduler",
    ),
    Row(
        "model.schedule.warmup_steps",
        "optimizer steps",
        "warmup warmup_steps warmup_iters warmup_epochs warmup_ratio lr_warmup_epochs lr_warmup_steps "
        "num_warmup_steps solver.warmup_iters",
    ),
    Row(
        "trainer.logger",
        "Weights & Biases by default, offline with WANDB_MODE=offline; false for none",
        "logger loggers trainer.loggers wandb use_wandb no_wandb tensorboard tb mlflow report_to vis_backends log",
    ),
    Row("trainer.logger.project", "or set WANDB_PROJECT", "project project_name wandb_project wandb.project"),
    Row(
        "run_dir",
        "its last part names the run",
        "name exp exp_name experiment experiment_name run_name wandb_name version",
    ),
    Row(
        "trainer.precision",
        "for example bf16-mixed or 32-true",
        "amp use_amp no_amp fp16 bf16 half dtype precision mixed_precision trainer.amp_backend trainer.amp_level "
        "solver.amp.enabled",
    ),
    Row(
        "trainer.gradient_clip_val",
        "",
        "clip clip_grad clip_grad_norm clip_max_norm clip_value grad_clip gradient_clip max_grad_norm max_norm "
        "gradient_clip_val solver.clip_gradients.clip_value",
    ),
    Row(
        "trainer.accumulate_grad_batches",
        "",
        "accum accum_iter accum_steps accumulate accumulation_steps grad_accum gradient_accumulation_steps "
        "accumulate_grad_batches update_freq",
    ),
    Row(
        "config",
        "a YAML file; its keys are options too: --trainer.max_epochs 12",
        "cfg cfg_file cfg_options cfg_path config_file config_name config_path configs opts options yaml hyp",
    ),
    Row(
        "",
        "`lightning-rcnn validate` and `lightning-rcnn test` score a checkpoint",
        "eval eval_only evaluate evaluate_only only_eval test test_only val_only validate validate_only do_eval",
    ),
    Row(
        "last_checkpoint.every_n_steps",
        "",
        "save_every save_freq save_interval save_period save_steps checkpoint_every checkpoint_interval "
        "checkpoint_period checkpoint_freq solver.checkpoint_period trainer.checkpoint_callback",
    ),
    Row(
        "trainer.check_val_every_n_epoch",
        "or --trainer.val_check_interval",
        "eval_every eval_freq eval_interval eval_period eval_steps test_freq val_every val_freq val_interval "
        "val_period validate_every evaluation_interval test.eval_period train_cfg.val_interval",
    ),
    Row(
        "trainer.log_every_n_steps",
        "",
        "print_freq log_every log_freq log_interval log_steps log_period logging_steps display_interval "
        "trainer.row_log_interval trainer.log_save_interval",
    ),
    Row("threshold", "", "conf"),
    Row(
        "model.box.score_threshold threshold",
        "",
        "conf_thres conf_threshold confidence confidence_threshold score_thr score_thresh score_threshold "
        "box_score_thresh model.roi_heads.score_thresh_test test_cfg.rcnn.score_thr",
    ),
    Row(
        "model.box.nms_iou",
        "",
        "iou iou_thres nms nms_thres nms_thresh nms_threshold box_nms_thresh model.roi_heads.nms_thresh_test",
    ),
    Row("model.box.nms_across_classes nms_across_classes", "", "agnostic_nms class_agnostic_nms nms_class_agnostic"),
    Row("model checkpoint", "for example FasterRCNN", "arch architecture model_name model_type network net detector"),
    Row(
        "model.backbone.name", "of the class in --model.backbone", "backbone encoder backbone_name model.backbone.name"
    ),
    Row("compilation.scope", "parts or step", "compile torch_compile use_compile jit"),
    Row(
        "trainer.strategy",
        "ddp by default with several devices",
        "strategy ddp dp fsdp distributed distributed_backend trainer.distributed_backend find_unused_parameters",
    ),
    Row("trainer.sync_batchnorm", "true", "sync_bn syncbn sync_batchnorm"),
    Row(
        "",
        "`torchrun` or `srun` sets it; without them give --trainer.devices",
        "launcher local_rank node_rank machine_rank rank world_size dist dist_url dist_backend master_addr "
        "master_port multi_gpu multiprocessing_distributed",
    ),
    Row("trainer.callbacks", "EMA: configs/trainer/averaged.yaml", "ema ema_decay model_ema use_ema swa"),
    Row("trainer.callbacks", "EarlyStopping, with its monitor and mode", "patience early_stop early_stopping"),
    Row("trainer.callbacks", "", "callback callbacks custom_hooks"),
    Row(
        "data.train_transforms", "HorizontalFlip, with its p", "flip hflip fliplr hflip_prob flip_prob horizontal_flip"
    ),
    Row("data.train_transforms", "VerticalFlip, with its p", "vflip flipud vflip_prob vertical_flip"),
    Row(
        "data.train_transforms",
        "ScaleJitter, with its target_size and scale_range",
        "lsj large_scale_jitter scale_jitter scale_range",
    ),
    Row(
        "data.train_transforms",
        "RandomSizeCrop or RandomIoUCrop",
        "crop random_crop crop_size crop_type crop_pct iou_crop input.crop.enabled input.crop.size",
    ),
    Row("data.train_transforms", "Affine, with its degrees, translate and shear", "degrees rotate rotation shear"),
    Row("data.train_transforms", "ZoomOut, with its side_range", "zoom_out expand"),
    Row(
        "model.backbone.frozen_stages",
        "",
        "freeze freeze_at freeze_backbone trainable_layers trainable_backbone_layers model.backbone.freeze_at "
        "frozen_stages",
    ),
    Row("images data.predict", "", "source input input_dir img_dir image image_dir images_dir test_images"),
    Row(
        "",
        "nothing searches for it; give --model.optimizer.lr and --data.batch_size",
        "auto_lr_find trainer.auto_lr_find trainer.auto_scale_batch_size",
    ),
    Row("trainer.fast_dev_run", "", "debug_run dry_run smoke_test dev_run overfit_one_batch fast_dev_run"),
)

COMMANDS = {
    "train": "fit",
    "training": "fit",
    "finetune": "fit",
    "resume": "fit with --ckpt_path last",
    "eval": "validate",
    "val": "validate",
    "score": "evaluate",
    "infer": "detect",
    "inference": "detect",
    "demo": "detect",
    "visualize": "show",
    "browse_dataset": "show",
    "preview": "show",
    "prepare": "pack",
    "export": "convert",
    "benchmark": "bench",
}
"""Commands of other tools -> ours."""
