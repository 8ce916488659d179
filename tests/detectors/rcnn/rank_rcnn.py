"""Run by test_rcnn_distributed.py in each of several processes: one rank's share of the last two stages of R-CNN.

Arguments: rank, world size, file for the rendezvous, file with the batches and the stages' hyperparameters, file for
what rank 1 has in the end.
"""

import sys

import torch
from torch.distributed import destroy_process_group, init_process_group

from lightning_rcnn.detectors.rcnn.box_regression import RCNNBoxRegression
from lightning_rcnn.detectors.rcnn.classification import RCNNClassification
from lightning_rcnn.structures import Inputs, Proposals, Targets


def main(rank: int, world: int, rendezvous: str, source: str, result: str) -> None:
    torch.set_num_threads(1)
    init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=world)
    content = torch.load(source, weights_only=True)
    solved = {}
    for stage_class in (RCNNClassification, RCNNBoxRegression):
        stage = stage_class(**content["hyperparameters"][stage_class.__name__]).eval()
        stage.load_state_dict(content["state_dict"])
        stage.begin_pass()
        with torch.no_grad():
            for images, sizes, ids, boxes, scores, is_valid, gt_boxes, labels, is_crowd in content["batches"]:
                part = slice(rank * len(images) // world, (rank + 1) * len(images) // world)
                proposals = Proposals(boxes[part], scores[part], is_valid[part])
                inputs = Inputs(images[part], sizes[part], ids[part], proposals)
                stage.collect(inputs, Targets(gt_boxes[part], labels[part], is_crowd[part]))
            stage.solve()
        solved[stage_class.__name__] = stage.state_dict()
    if rank == 1:  # which solves nothing itself
        torch.save(solved, result)
    destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
