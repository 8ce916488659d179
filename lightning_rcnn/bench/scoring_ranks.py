"""How long ranks wait between their last batch and the figures of all of them."""

import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from typing import NamedTuple

import torch
from torch.distributed import barrier, destroy_process_group, init_process_group

from lightning_rcnn.bench.memory import peak_memory
from lightning_rcnn.bench.scoring import HEIGHT, WIDTH, Image, ScoringWorkload
from lightning_rcnn.detectors.evaluation import Evaluation
from lightning_rcnn.structures import Detections, ImageRecord, Proposals


class RankWait(NamedTuple):
    """Measurements of one rank.

    Attributes:
        seconds: wall time from the last batch, for which all ranks wait, to the figures.
        peak_bytes: memory that this took beyond what was in use before; 0 if the system does not tell.
    """

    seconds: float
    peak_bytes: int


def wait_for_figures(workload: ScoringWorkload, num_ranks: int) -> list[RankWait]:
    """Score boxes with all metrics of a detector (COCO, VOC, proposals) over gloo, with processes on this machine.

    Args:
        workload: what each rank holds; each has numbers of its own.
        num_ranks: number of processes.

    Returns:
        For each rank its measurements.
    """
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(num_ranks, get_context("spawn")) as processes:
        waits = [
            processes.submit(_wait_of_rank, replace(workload, seed=workload.seed + rank), rank, num_ranks, folder)
            for rank in range(num_ranks)
        ]
        return [wait.result() for wait in waits]


def _wait_of_rank(workload: ScoringWorkload, rank: int, num_ranks: int, folder: str) -> RankWait:
    torch.set_num_threads(1)
    init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=num_ranks)
    evaluation = Evaluation(workload.class_names, workload.max_detections, None)
    for image_id, image in workload.images_by_id().items():
        _add(evaluation, num_ranks * image_id + rank, image)
    seconds = 0.0

    def score() -> None:
        nonlocal seconds
        barrier()
        start = time.perf_counter()
        evaluation.compute()
        seconds = time.perf_counter() - start

    peak_bytes = peak_memory(score, torch.device("cpu"))
    destroy_process_group()
    return RankWait(seconds, peak_bytes)


def _add(evaluation: Evaluation, image_id: int, image: Image) -> None:
    """Add an image as a batch of its own; its detections are its proposals too."""
    annotations = [
        {
            "bbox": _as_xyxy(entry["bbox"]),
            "label": entry["category_id"],
            "iscrowd": 0,
            "difficult": 0,
            "area": entry["area"],
        }
        for entry in image.annotations
    ]
    boxes = torch.tensor([[_as_xyxy(result["bbox"]) for result in image.results]])
    scores = torch.tensor([[result["score"] for result in image.results]])
    labels = torch.tensor([[result["category_id"] for result in image.results]])
    proposals = Proposals(boxes, scores, torch.ones_like(scores, dtype=torch.bool))
    evaluation.update(
        Detections(boxes, scores, labels), proposals, [ImageRecord(image_id, "", HEIGHT, WIDTH, annotations)]
    )


def _as_xyxy(box: list[float]) -> list[float]:
    x, y, width, height = box
    return [x, y, x + width, y + height]
