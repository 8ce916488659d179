"""The options of a run that Lightning does not have."""

from jsonargparse.typing import PositiveFloat
from lightning.pytorch.cli import LightningArgumentParser

from lightning_rcnn.callbacks.checkpoints import BestCheckpoint, LastCheckpoint
from lightning_rcnn.callbacks.compilation import Compilation
from lightning_rcnn.callbacks.detection_images import DetectionImages
from lightning_rcnn.callbacks.rank_watch import RankWatch
from lightning_rcnn.cli.tiles_and_views import add_tiles_and_views
from lightning_rcnn.progress import SECONDS_BETWEEN_LINES


def add_run_options(parser: LightningArgumentParser) -> None:
    """Add the options to the parser of a command."""
    parser.add_argument(
        "--run_dir",
        type=str | None,
        help="Folder for all files of the run, or its URL in a cloud; by default runs/NAME OF THE CONFIGURATION.",
    )
    parser.add_argument(
        "--progress_seconds",
        type=PositiveFloat,
        default=SECONDS_BETWEEN_LINES,
        help="Seconds between two lines of progress if the output is not a terminal.",
    )
    analysis = "With fit, write report/index.html with an analysis of errors after each validation, too."
    parser.add_argument("--analysis", type=bool, default=False, help=analysis)
    parser.add_argument(
        "--validation_losses",
        type=bool,
        default=True,
        help="Compute and log the losses (val/loss, ...) in validations and tests, too.",
    )
    parser.add_argument(
        "--background_checkpoints",
        type=bool,
        default=False,
        help="With fit, copy checkpoints to memory and write them while the training goes on.",
    )
    add_tiles_and_views(parser)
    parser.add_lightning_class_args(LastCheckpoint, "last_checkpoint")
    parser.add_lightning_class_args(BestCheckpoint, "best_checkpoint")
    parser.add_lightning_class_args(RankWatch, "rank_watch")
    parser.add_lightning_class_args(DetectionImages, "detection_images")
    parser.add_lightning_class_args(Compilation, "compilation")
    # One seed for everything, and one folder; the targets of links are no longer options.
    parser.link_arguments("seed_everything", "data.seed", compute_fn=int)
    parser.link_arguments("run_dir", "trainer.default_root_dir")
