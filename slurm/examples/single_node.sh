#!/bin/bash
# One node with four GPUs.
sbatch --nodes=1 --ntasks-per-node=4 --gpus-per-node=4 slurm/train.sbatch \
  --config configs/faster_rcnn/r50_fpn_coco.yaml --data.train shards/train --data.val shards/val "$@"
