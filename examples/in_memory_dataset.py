"""Train on a torch data set, without packing: `python examples/in_memory_dataset.py`, seconds on a CPU."""

import torch
from custom_backbone import TinyBackbone
from lightning.pytorch import Trainer
from torch import Tensor
from torch.utils.data import Dataset

from lightning_rcnn import DetectionDataModule, FasterRCNN
from lightning_rcnn.detectors.schedules import OneCycleSchedule
from lightning_rcnn.parts import part


class Squares(Dataset):
    """Bright squares on noise, one an image, in the form of torchvision's detection data sets."""

    classes = ("square",)

    def __len__(self) -> int:
        return 16

    def __getitem__(self, number: int) -> tuple[Tensor, dict[str, Tensor]]:
        noise = torch.Generator().manual_seed(number)
        image = torch.randint(0, 80, (3, 96, 128), dtype=torch.uint8, generator=noise)
        x, y = 5 * number % 80, 3 * number % 50
        image[:, y : y + 40, x : x + 40] = 255
        return image, {"boxes": torch.tensor([[x, y, x + 40, y + 40]]), "labels": torch.tensor([1])}


def main() -> None:
    """Train, and print the best detection of an image beside its ground truth."""
    squares = Squares()
    data = DetectionDataModule(train=squares, val=squares, batch_size=4, num_workers=0)
    model = FasterRCNN(
        squares.classes,
        backbone=TinyBackbone(width=64),
        preprocessing={"min_size": 96, "max_size": 128},
        rpn={"anchors": {"sizes": [32, 64]}, "pre_nms_top_n": [100, 50], "post_nms_top_n": [50, 20]},
        box={"head": {"width": 64}, "samples_per_image": 32},
        optimizer=part(torch.optim.AdamW, lr=1e-3),
        schedule=part(OneCycleSchedule),
    )
    trainer = Trainer(
        max_epochs=20, check_val_every_n_epoch=20, accelerator="cpu", logger=False, enable_checkpointing=False
    )
    trainer.fit(model, data)
    image, target = squares[3]
    detections = model.detect(image, threshold=0.1)[0]
    print("there is", target["boxes"].tolist(), "and found is", detections["boxes"][:1].round().int().tolist())


if __name__ == "__main__":
    main()
