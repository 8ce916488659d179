"""What a board of runs in W&B shows: sections, panels, and the logged keys in them."""

from typing import NamedTuple

from lightning_rcnn.callbacks.detection_images import LOG_KEY


class Curves(NamedTuple):
    """Lines over the steps: of these keys, or of all that match a regular expression."""

    title: str
    keys: tuple[str, ...] = ()
    pattern: str = ""


class Bars(NamedTuple):
    """A bar for each run and key of the summary."""

    title: str
    keys: tuple[str, ...]


class Images(NamedTuple):
    """Images by step."""

    title: str
    key: str


class Table(NamedTuple):
    """A logged table; it has its title in W&B from its key."""

    key: str


class Chart(NamedTuple):
    """A chart that was logged with a preset of W&B, drawn again from its table.

    Attributes:
        title: title.
        key: key under which the chart was logged.
        preset: name of the preset.
        fields: field of the preset -> column of the table.
    """

    title: str
    key: str
    preset: str
    fields: dict[str, str]

    @property
    def table(self) -> str:
        """The key of the table, where `wandb.plot_table(..., split_table=True)` puts it."""
        return f"Custom Chart Tables/{self.key}_table"


Panel = Curves | Bars | Images | Table | Chart


class Section(NamedTuple):
    """A section of the board."""

    name: str
    panels: tuple[Panel, ...]


LOSSES = ("loss", "loss_objectness", "loss_rpn_box", "loss_classifier", "loss_box", "loss_mask", "loss_keypoint")

SECTIONS = (
    Section(
        "Headline",
        (
            Curves("AP", ("val/bbox/AP", "val/segm/AP", "val/keypoints/AP")),
            Bars("Best AP", ("best/val/bbox/AP", "best/val/segm/AP", "best/val/keypoints/AP")),
            Curves("AP50", ("val/bbox/AP50", "val/segm/AP50", "val/voc/AP50")),
            Curves("Best F1, and the score threshold that has it", ("val/f1", "val/f1_threshold")),
            Curves("AP of small, medium and large objects", ("val/bbox/APs", "val/bbox/APm", "val/bbox/APl")),
            Curves("Recall of proposals, the ceiling", ("val/proposals/AR@1000", "val/proposals/R50@1000")),
        ),
    ),
    Section("Losses", tuple(Curves(name, (f"train/{name}", f"val/{name}")) for name in LOSSES)),
    Section(
        "Data and speed",
        (
            Curves("Images a second", ("throughput/images_per_second",)),
            Curves("Share of the time that steps wait for data", ("throughput/data_wait_share",)),
            Curves("GPU memory, GB", ("throughput/gpu_memory_gb",)),
            Curves("Gradient norm", ("train/gradient_norm",)),
            Curves("Learning rate", ("train/learning_rate",)),
        ),
    ),
    Section(
        "Classes",
        (
            Curves("AP of boxes by class", pattern="^val/bbox/per_class/"),
            Curves("AP of masks by class", pattern="^val/segm/per_class/"),
            Curves("AP of keypoints by class", pattern="^val/keypoints/per_class/"),
        ),
    ),
    Section(
        "Errors",
        (
            Curves("AP50 that each kind of error costs", pattern="^val/errors/"),
            Chart(
                "Precision by recall, IoU .50",
                "val/precision_recall",
                "wandb/area-under-curve/v0",
                {"x": "recall", "y": "precision", "class": "class"},
            ),
            Chart(
                "Confusion of classes",
                "val/confusion",
                "wandb/confusion_matrix/v1",
                {name: name for name in ("Actual", "Predicted", "nPredictions")},
            ),
            Table("val/error_table"),
            Table("val/class_table"),
        ),
    ),
    Section("Images", (Images("Ground truth and detections", LOG_KEY),)),
)
