"""What `--help` of the training commands says."""

import re
from contextlib import redirect_stdout
from io import StringIO

import pytest

from lightning_rcnn.cli import main


@pytest.fixture(scope="module")
def shown():
    """The text of `fit --help`, without its line breaks."""
    text = StringIO()
    with redirect_stdout(text), pytest.raises(SystemExit):
        main(["fit", "--help"])
    return text.getvalue()


def test_lists_of_classes_are_short(shown):
    assert len(shown.splitlines()) < 800
    words = " ".join(shown.split())
    lists = re.findall(r"known subclasses: ([^)]*)\)", words)
    assert lists
    assert max(listed.count(",") for listed in lists) < 16
    assert "torch.nn." not in words
    assert "torchvision.transforms.v2.Grayscale" not in words


def test_options_are_described_as_they_work_here(shown):
    words = " ".join(shown.split())
    assert "with last it starts if there is none yet" in words
    assert "hpc" not in words
    assert "auto is bf16 where the device has instructions for it, else 32 bits. (type: Union" in words
    assert "several are merged, the last one wins" in words
