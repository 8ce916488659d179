"""Run by test_distributed.py in each of several processes: gradients of one rank's share of a batch under DDP.

Arguments: rank, world size, file for the rendezvous, file with the whole batch and the detector's hyperparameters,
file for the gradients of rank 0.
"""

import sys

import torch
from torch.distributed import destroy_process_group, init_process_group
from torch.nn.parallel import DistributedDataParallel

from lightning_rcnn.compilation import compile_training
from lightning_rcnn.detectors.mask_rcnn import MaskRCNN
from lightning_rcnn.structures import Batch, Bitmaps, Targets


def main(rank: int, world: int, rendezvous: str, source: str, result: str) -> None:
    torch.set_num_threads(1)
    init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=world)
    content = torch.load(source, weights_only=True)
    torch.manual_seed(rank)  # DDP has to take rank 0's weights
    detector = MaskRCNN(**content["hyperparameters"])
    if rank == 0:
        detector.load_state_dict(content["state_dict"])
    if content["scope"] is not None:
        compile_training(detector, content["scope"], capture=False, backend="aot_eager")
    size = len(content["images"]) // world
    bits, *tables = content["masks"]
    part = slice(rank * size, (rank + 1) * size)
    share = Batch(
        content["images"][part],
        content["image_sizes"][part],
        content["image_ids"][part],
        Targets(
            *(tensor[part] for tensor in content["targets"]), masks=Bitmaps(bits, *(table[part] for table in tables))
        ),
        records=(),
    )
    parallel = DistributedDataParallel(detector, static_graph=True)
    for _ in range(2):  # a static graph shows its faults in the second step
        detector.zero_grad()
        losses = parallel(share)
        sum(losses.values()).backward()
    if rank == 0:
        torch.save({name: parameter.grad for name, parameter in detector.named_parameters()}, result)
    destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
