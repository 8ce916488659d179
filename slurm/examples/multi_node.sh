#!/bin/bash
# Four nodes with eight GPUs each. The configuration is for a global batch of 16 images; here it is 4 x 8 x 2 = 64, so
# the learning rate is four times as high.
sbatch --nodes=4 --ntasks-per-node=8 --gpus-per-node=8 slurm/train.sbatch \
  --config configs/mask_rcnn/r50_fpn_coco.yaml --data.train shards/train --data.val shards/val \
  --model.optimizer.lr 0.08 "$@"
