"""`lightning-rcnn fit|validate|test|predict`, with every expected error as one line."""

from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from lightning_rcnn.checkpoints.header import first_mismatch
from lightning_rcnn.cli.detection_cli import DetectionCLI
from lightning_rcnn.cli.resume import Finished
from lightning_rcnn.errors import InputError
from lightning_rcnn.lightning_messages import hush_lightning, hush_missing_callbacks


def train(arguments: list[str]) -> None:
    """Run `fit`, `validate`, `test` or `predict`.

    Args:
        arguments: the command and its options.

    Raises:
        InputError: the options, a configuration file, the data or a checkpoint are wrong.
    """
    try:
        run_cli(DetectionCLI, arguments)
    except Finished as finished:
        rank_zero_info(str(finished))


def run_cli(cli: type[DetectionCLI], arguments: list[str]) -> DetectionCLI:
    """Run a training command by its class, or one derived from it; errors are those of `train`."""
    hush_lightning()
    if arguments[:1] != ["fit"]:
        hush_missing_callbacks()
    try:
        return cli(arguments)
    except MisconfigurationException as error:
        raise InputError(" ".join(str(error).split())) from error
    except SystemExit as stop:
        # Lightning cleans up after Ctrl-C, and then exits as after an error.
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from stop
        raise
    except RuntimeError as error:
        if "Error(s) in loading state_dict" not in str(error):
            raise
        raise InputError(
            f"the checkpoint does not fit the model of the configuration: {first_mismatch(error)}; give the model the "
            "settings of the checkpoint, or start another training with --model.weights and a --run_dir of its own"
        ) from error
