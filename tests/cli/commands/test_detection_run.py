"""What a watch does with what comes in, with a stand-in for the detector."""

import os
import signal
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from lightning_rcnn.cli.commands.detection_run import DetectionRun
from lightning_rcnn.detection.results import ResultsFile, read_lines
from lightning_rcnn.detection.running import Outcome
from lightning_rcnn.detection.sources import Sources
from lightning_rcnn.detection.stills import FileImage


class WholeFiles:
    """Finds nothing in files of 4 bytes, and can read no others."""

    def run(self, stills, videos):
        for still in stills:
            if still.path.read_bytes() == b"1234":
                yield Outcome(still.key, {"image": still.key, "width": 1, "height": 1, "objects": []})
            else:
                yield Outcome(still.key, None, "cut off")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_file_that_was_taken_too_early_is_taken_again_until_a_signal_comes(tmp_path, name):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
    path = tmp_path / "slow.jpg"
    # It grows after a pause, is read too early once more, and is whole; one look takes note, the next one reads.
    contents = {0: b"1", 3: b"12", 7: b"1234"}
    looks = []

    def find():
        looks.append(len(looks))
        if looks[-1] in contents:
            path.write_bytes(contents[looks[-1]])
        if looks[-1] == 12:
            os.kill(os.getpid(), getattr(signal, name))
        return Sources([FileImage(path, Path("slow.jpg"))], [], [])

    results = ResultsFile(tmp_path, {})
    console = Console(record=True, width=200, file=StringIO())
    run = DetectionRun(results, WholeFiles(), None, False, console)
    try:
        run.watch(find, 0.001)
    finally:
        signal.signal(signal.SIGINT, before)
    results.close()
    assert looks[-1] == 12
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert [entry["image"] for entry in read_lines(results.path)] == [str(path)]
    assert not run.unreadable
    assert console.export_text().count(f"Skipped {path}: cut off") == 2
