"""Run by test_memory_of_masks.py: 100 detections on an image of 4000 x 3000, scored, and perhaps written and drawn.

Arguments: rule of pasting, and where to draw them the folder for the picture. Prints the resident memory in MB: of the
imports, after scoring, and after drawing, the highest so far each.
"""

import json
import resource
import sys
from pathlib import Path

import torch

from lightning_rcnn.evaluation.coco_ap import CocoAveragePrecision
from lightning_rcnn.evaluation.coco_results import coco_results
from lightning_rcnn.structures import Detections, ImageRecord
from lightning_rcnn.visualization import Objects, draw_objects, save_picture

NUM, HEIGHT, WIDTH = 100, 3000, 4000


def peak() -> float:
    """MB; Linux counts in KB, macOS in bytes.

    Linux hands the largest size of `getrusage` down from the process that started this one, so it is not asked there.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    highest = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(highest.split()[1]) / 2**10


def main(rule: str, folder: str = "") -> None:
    torch.set_num_threads(1)
    figures = {"imports": peak()}
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(NUM, 2, generator=generator) * torch.tensor([WIDTH, HEIGHT]) * 0.2
    boxes = torch.cat([corners, torch.tensor([WIDTH, HEIGHT]) - corners.flip(0)], dim=1)
    boxes[0] = torch.tensor([0, 0, WIDTH, HEIGHT])
    # Ragged: the longer the outline, the longer the RLE.
    masks = torch.rand(1, NUM, 7, 7, generator=generator).repeat_interleave(4, 2).repeat_interleave(4, 3)
    labels, scores = torch.ones(1, NUM, dtype=torch.int64), torch.linspace(1, 0.1, NUM)[None]
    detections = Detections(boxes[None], scores, labels, masks)
    annotations = [
        {"bbox": box, "label": 1, "iscrowd": 0, "difficult": 0, "area": 1e6, "segmentation": [outline(*box)]}
        for box in boxes.tolist()
    ]
    record = ImageRecord(1, "large.png", HEIGHT, WIDTH, annotations)

    metric = CocoAveragePrecision(["thing"], "segm", mask_paste=rule)
    metric.update(detections, [record])
    metric.compute()
    figures["scored"] = peak()

    if folder:
        draw(detections, record, rule, Path(folder))
        figures["drawn"] = peak()
    print(json.dumps(figures))


def draw(detections: Detections, record: ImageRecord, rule: str, folder: Path) -> None:
    """As the tool `detect` does."""
    entries = coco_results(detections, 0, record, [1], rule)
    image = torch.zeros(3, HEIGHT, WIDTH, dtype=torch.uint8)
    boxes, scores, labels = (values[0] for values in detections[:3])
    objects = Objects(boxes, labels, scores, masks=[entry["segmentation"] for entry in entries])
    save_picture(draw_objects(image, objects, ["thing"]), folder / "large.jpg")


def outline(x1: float, y1: float, x2: float, y2: float) -> list[float]:
    return [x1, y1, x2, y1, x2, y2, x1, y2]


if __name__ == "__main__":
    main(*sys.argv[1:])
