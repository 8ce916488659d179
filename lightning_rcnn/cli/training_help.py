"""The text of `--help` of the training commands: jsonargparse's, with our words where its own mislead."""

import re
from argparse import Action

from jsonargparse import DefaultHelpFormatter

_OURS = {
    "config": (
        "Configuration, a YAML file; several are merged, the last one wins, and options win over all. Its `base:` "
        "names files to build on."
    ),
    "seed_everything": "Seed of weights, order and draws; true draws one and records it.",
    "trainer.precision": "auto is bf16 where the device has instructions for it, else 32 bits.",
    "ckpt_path": (
        "Checkpoint: last or best of the run in --run_dir, or a file or URL. fit resumes from it; with last it starts "
        "if there is none yet, so that the same command starts and resumes."
    ),
}
"""Option -> what stands in its help; Lightning's texts are about its own trainer from Python."""
_MOST = 16
"""Number of classes up to which the help lists them; others are hundreds, such as every `nn.Module`."""
_CLASSES = re.compile(r", known subclasses: (.*)\)$", re.DOTALL)


class TrainingHelp(DefaultHelpFormatter):
    """Formats the help of the training commands."""

    def _get_help_string(self, action: Action) -> str:
        text = super()._get_help_string(action)
        ours = _OURS.get(action.dest, "")
        if not text.startswith(ours):  # it is asked twice for an option that has no text
            text = ours + text.removeprefix(action.help or "")
        classes = _CLASSES.search(text)
        return text[: classes.start()] + ")" if classes and classes[1].count(",") >= _MOST else text
