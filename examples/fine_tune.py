"""Fine-tune on your own data: `python examples/fine_tune.py IMAGES TRAIN.json VAL.json WEIGHTS [EPOCHS]`.

The JSON files are COCO's. The weights are a file of ours, torchvision's or detectron2's, or a name such as
maskrcnn_resnet50_fpn_v2. Shards and the checkpoint `fine_tuned.ckpt` are written to the working directory.
"""

import sys
from pathlib import Path

import torch
from lightning.pytorch import Trainer

import lightning_rcnn
from lightning_rcnn.cli.commands.pack import pack_coco
from lightning_rcnn.detectors.schedules import OneCycleSchedule
from lightning_rcnn.parts import part


def main(images: str, train: str, val: str, weights: str, epochs: str = "10") -> None:
    """Pack, start from the weights, train, and keep the checkpoint."""
    for name, annotations in (("train", train), ("val", val)):
        pack_coco(Path(images), Path(annotations), Path("shards", name))
    data = lightning_rcnn.DetectionDataModule(train="shards/train", val="shards/val", batch_size=2)
    categories = lightning_rcnn.read_index("shards/train").categories
    source = lightning_rcnn.load(weights)
    settings = source.init_args | {
        "class_names": [category.name for category in categories],
        "category_ids": [category.id for category in categories],
        "weights": weights,  # predictors of other classes start from initialization
        "optimizer": part(torch.optim.AdamW, lr=1e-4, weight_decay=0.05),
        "schedule": part(OneCycleSchedule),
    }
    trainer = Trainer(max_epochs=int(epochs), logger=False, enable_checkpointing=False)
    trainer.fit(type(source)(**settings), data)
    trainer.save_checkpoint("fine_tuned.ckpt")


if __name__ == "__main__":
    main(*sys.argv[1:])
