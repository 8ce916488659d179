"""Run by test_gathering.py in each of several processes: figures over one rank's images and those of the others.

Arguments: rank, world size, file for the rendezvous, file with the images of each rank, file for this rank's figures.
"""

import json
import sys
from datetime import timedelta
from pathlib import Path

import torch
from torch.distributed import destroy_process_group, init_process_group

from lightning_rcnn.evaluation.analysis.collecting import AnalysisCollector, analyses_of
from lightning_rcnn.evaluation.coco_ap import CocoAveragePrecision
from lightning_rcnn.evaluation.gathering import score_on_rank_zero
from lightning_rcnn.evaluation.proposal_recall import ProposalRecall
from lightning_rcnn.evaluation.voc_ap import VOCAveragePrecision
from lightning_rcnn.structures import Detections, ImageRecord, Proposals


def fail(parts):
    raise ValueError(f"after {next(parts)}")


def figures_of(images: list[dict]) -> dict:
    """Figures over these images and, with several processes, those of the other ranks."""
    of_boxes, of_masks = (CocoAveragePrecision(["cat", "dog", "cow"], result_type) for result_type in ("bbox", "segm"))
    collectors = {metric.result_type: AnalysisCollector(metric.result_type, 100) for metric in (of_boxes, of_masks)}
    for metric in (of_boxes, of_masks):
        metric.observers.append(collectors[metric.result_type])
    voc = VOCAveragePrecision(["cat", "dog", "cow"])
    recall = ProposalRecall()
    for image in images:
        table = torch.tensor(image["detections"]).reshape(1, -1, 6)
        record = ImageRecord(**image["record"])
        masks = torch.ones(*table.shape[:2], 28, 28)
        detections = Detections(table[..., :4], table[..., 5], table[..., 4].long(), masks)
        of_boxes.update(detections, [record])
        of_masks.update(detections, [record])
        voc.update(detections, [record])
        is_valid = torch.ones(table.shape[:2], dtype=torch.bool)
        recall.update(Proposals(table[..., :4], table[..., 5], is_valid), [record])
    metrics = {"bbox": of_boxes, "segm": of_masks, "voc": voc, "proposals": recall}
    figures = {name: metric.compute() for name, metric in metrics.items()}
    classes = of_boxes.class_names
    part = {result_type: collector.state() for result_type, collector in collectors.items()}
    analyses = score_on_rank_zero(
        part, lambda parts: {kind: one.analysis.as_dict() for kind, one in analyses_of(parts, classes).items()}
    )
    return {**figures, "analyses": analyses}


def main(rank: int, world: int, rendezvous: str, source: str, result: str) -> None:
    torch.set_num_threads(1)
    init_process_group(
        "gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=world, timeout=timedelta(seconds=60)
    )
    figures = figures_of(json.loads(Path(source).read_text())[rank])
    try:
        score_on_rank_zero(f"part {rank}", fail)
    except RuntimeError as error:
        figures["error"] = str(error)
    figures["ranks"] = score_on_rank_zero(rank, lambda parts: {"all": list(parts)})["all"]
    Path(result).write_text(json.dumps(figures))
    destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
