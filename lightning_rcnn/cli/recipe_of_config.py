"""The recipe of a configuration of `fit`, for commands that look at data without a training."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lightning_rcnn.cli.detection_cli import DetectionCLI
from lightning_rcnn.cli.showing import SHOW
from lightning_rcnn.cli.training import run_cli
from lightning_rcnn.data.datamodule import DetectionDataModule
from lightning_rcnn.detectors.base import Detector
from lightning_rcnn.detectors.faster_rcnn import FasterRCNN
from lightning_rcnn.inspection.memory import step_memory
from lightning_rcnn.inspection.recipe import Recipe
from lightning_rcnn.plain_data import CLASS_PATH, INIT_ARGS
from lightning_rcnn.rpn.branch import RPN

_KEPT_BY_ADAM = 2
"""Numbers that Adam and its like keep for each weight; others keep momentum only."""


class _Built(DetectionCLI):
    """Builds model and data as `show` does, which loads no weights, and stops there."""

    def _run_subcommand(self, subcommand: str) -> None:
        """Do nothing."""


def recipe_of(config: Sequence[Path], sources: Sequence[str], class_names: Sequence[str]) -> Recipe:
    """Return the recipe of configuration files; without any, that of Faster R-CNN's defaults.

    Args:
        config: configuration files of `fit`.
        sources: training data, from which the classes come.
        class_names: names of the classes.

    Raises:
        InputError: a file or a key is wrong, or the data have other classes than the model.
    """
    if not config:
        return _recipe("the defaults of Faster R-CNN", FasterRCNN(class_names), DetectionDataModule())
    with tempfile.TemporaryDirectory() as unused:
        words = [word for file in config for word in ("--config", str(file))]
        train = sources[0] if len(sources) == 1 else json.dumps(list(sources))
        built = run_cli(_Built, [SHOW, *words, "--data.train", train, "--out", unused, "--seed_everything", "false"])
    return _recipe(" + ".join(map(str, config)), built.model, built.datamodule)


def _recipe(name: str, detector: Detector, data: DetectionDataModule) -> Recipe:
    rpn = getattr(detector, "rpn", None)
    heads = (detector.init_args.get("box") or detector.init_args["regions"])[INIT_ARGS]  # the latter of R-CNN
    optimizer = str(detector.init_args["optimizer"][CLASS_PATH])
    return Recipe(
        name=name,
        detector=type(detector).__name__,
        rule=detector.resize_rule,
        rpn=rpn.settings if isinstance(rpn, RPN) else None,
        strides=tuple(detector.get_submodule("backbone").strides),  # type: ignore[arg-type]  # a Backbone
        suppression=None if heads.get("nms") == "soft" else detector.suppression,
        detections_per_image=heads["detections_per_image"],
        batch_size=data.batch_size,
        memory=step_memory(detector, _KEPT_BY_ADAM if "Adam" in optimizer else 1),
    )
