"""Run by test_validation_losses.py in each of several processes: mean losses over the images of all ranks.

Arguments: rank, world size, file for the rendezvous, file with all images and the detector, file for the losses, to
which the rank is appended.
"""

import json
import sys
from pathlib import Path

import torch
from torch.distributed import destroy_process_group, init_process_group

from lightning_rcnn.detectors.mask_rcnn import MaskRCNN
from lightning_rcnn.detectors.validation_losses import evaluate_with_losses
from lightning_rcnn.structures import Batch, Bitmaps, Targets


def main(rank: int, world: int, rendezvous: str, source: str, result: str) -> None:
    torch.set_num_threads(1)
    init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=world)
    content = torch.load(source, weights_only=True)
    detector = MaskRCNN(**content["hyperparameters"]).eval()
    detector.load_state_dict(content["state_dict"])
    bits, *tables = content["masks"]
    for slots in content["shares"][rank]:
        targets = Targets(
            *(tensor[slots] for tensor in content["targets"]), masks=Bitmaps(bits, *(table[slots] for table in tables))
        )
        batch = Batch(*(tensor[slots] for tensor in content["batch"]), targets, records=())
        with torch.inference_mode():
            evaluate_with_losses(detector, batch)
    Path(f"{result}{rank}").write_text(json.dumps(detector.evaluation.losses.compute()))
    destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
