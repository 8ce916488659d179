#!/bin/bash
# Five runs with the seeds 0 to 4, at most two at a time, in runs/seeds/seed-0 and so on.
sbatch --job-name=seeds --array=0-4%2 --nodes=1 --ntasks-per-node=1 --gpus-per-node=1 slurm/train.sbatch \
  --config configs/mask_rcnn/r18_fpn_nuclei.yaml --data.train shards/train --data.val shards/val "$@"
