"""`lightning-rcnn bench masks`."""

from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from lightning_rcnn.bench.mask_memory import measure_peaks
from lightning_rcnn.bench.report import write_report
from lightning_rcnn.cli.option_checks import require_positive
from lightning_rcnn.cli.output_paths import require_file
from lightning_rcnn.masks.paste import PasteRule


def masks(
    mask_paste: PasteRule = "exact",
    detections: int = 100,
    height: int = 3000,
    width: int = 4000,
    image: Path | None = None,
    seed: int = 0,
    json: Path | None = None,
) -> None:
    """Measure the memory for scoring the masks of one large image, and for writing and drawing them.

    The figures are the highest resident memory of the process so far, imports included, with one thread on the CPU.

    Args:
        mask_paste: rule of pasting masks into the image, as in `detect`.
        detections: number of detections.
        height: height of the image, pixels.
        width: width of the image, pixels.
        image: also write the results and draw them into this image file.
        seed: seed of boxes and masks.
        json: also write the figures to this file, in bytes.
    """
    require_positive(detections=detections, height=height, width=width)
    for path, option in ((image, "--image"), (json, "--json")):
        if path is not None:
            require_file(path, option)
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    peaks = measure_peaks(mask_paste, detections, height, width, image)
    title = f"{detections} detections on {height} x {width} pixels, masks pasted {mask_paste}"
    table = Table("after", "peak (MiB)", title=title)
    for step, peak in peaks.items():
        table.add_row(step, f"{peak / 2**20:.0f}")
    Console().print(table)
    write_report(json, title, torch.device("cpu"), {"peak_bytes": peaks})
