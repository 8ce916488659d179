"""`lightning-rcnn bench scaling`."""

from collections.abc import Callable
from csv import writer
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from lightning_rcnn.bench.coco_like import coco_like
from lightning_rcnn.bench.scaling import GPUS, Figures, Row, scale
from lightning_rcnn.cli.option_checks import require_at_least, require_positive
from lightning_rcnn.cli.output_paths import require_file
from lightning_rcnn.errors import InputError
from lightning_rcnn.files import atomic_write


def scaling(
    nodes: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128),
    images_per_second: float = 181.0,
    batch_size: int = 2,
    object_us: float = 2.6,
    balance_window: int = 1,
    core_images_per_second: float = 200.0,
    cores: int = 112,
    parameters: float = 44.4,
    gradient_bytes: int = 4,
    bucket_mb: float = 25.0,
    bandwidth: float = 50.0,
    node_bandwidth: float = 380.0,
    latency_us: float = 20.0,
    evaluation_images_per_second: float | None = None,
    scoring_seconds: float = 1.0,
    checkpoint_seconds: float = 0.5,
    checkpoint_steps: int = 200,
    failures: float = 0.0038,
    restart_seconds: float = 120.0,
    epochs: int = 12,
    csv: Path | None = None,
) -> None:
    """Compute how the training of Mask R-CNN R50-FPN on COCO scales over nodes of eight GPUs, from figures of parts.

    It measures nothing. Defaults are published, measured or assumed, as each option says; give your own.

    Args:
        nodes: numbers of nodes.
        images_per_second: training speed of a GPU alone. MLPerf Training's Mask R-CNN on eight H100: 1448 / 8.
        batch_size: images of a GPU in a step.
        object_us: microseconds of a GPU for an object. Derived: 8 passes over the IoU with 268,569 anchors in float32,
            at the 3.35 TB/s of an H100.
        balance_window: `data.loading.balance_window`.
        core_images_per_second: images that a core loads in a second. Measured by `bench loader`: 226 of COCO.
        cores: cores of a node. A DGX H100 has 2 x 56.
        parameters: parameters in millions. torchvision's documentation of maskrcnn_resnet50_fpn: 44,401,393.
        gradient_bytes: bytes of a gradient on the network: 4, or 2 with a hook of half precision.
        bucket_mb: size of a bucket of gradients, MB. torch's default of DistributedDataParallel.
        bandwidth: what a node sends in a second, GB. One port of 400 Gb/s, of which a DGX H100 has eight.
        node_bandwidth: what a GPU sends within its node in a second, GB. Measured over NVLink by a user (NCCL #1264).
        latency_us: microseconds of a message between nodes. Assumed.
        evaluation_images_per_second: speed of a GPU in evaluation; by default that of training. Assumed.
        scoring_seconds: seconds for the metrics of 5000 images. Measured: .4 s to score, .5 s to bring together.
        checkpoint_seconds: seconds in which all ranks wait for a checkpoint. Measured: 355 MB, with momentum, to disk.
        checkpoint_steps: `last_checkpoint.every_n_steps`, whose default it is.
        failures: failures of a node in a day. The Llama 3 paper: 419 unexpected ones of 2048 nodes in 54 days.
        restart_seconds: seconds from a failure to the next step. Assumed.
        epochs: epochs, with an evaluation after each.
        csv: also write the table to this file.

    Raises:
        InputError: an option is impossible.
    """
    require_positive(
        images_per_second=images_per_second,
        batch_size=batch_size,
        balance_window=balance_window,
        core_images_per_second=core_images_per_second,
        cores=cores,
        parameters=parameters,
        gradient_bytes=gradient_bytes,
        bucket_mb=bucket_mb,
        bandwidth=bandwidth,
        node_bandwidth=node_bandwidth,
        checkpoint_steps=checkpoint_steps,
        epochs=epochs,
    )
    if evaluation_images_per_second is not None:
        require_positive(evaluation_images_per_second=evaluation_images_per_second)
    require_at_least(
        0,
        object_us=object_us,
        latency_us=latency_us,
        scoring_seconds=scoring_seconds,
        checkpoint_seconds=checkpoint_seconds,
        failures=failures,
        restart_seconds=restart_seconds,
    )
    for number in nodes:
        require_positive(nodes=number)
    if csv is not None:
        require_file(csv, "--csv")
    images = coco_like()
    if max(nodes) * GPUS * batch_size > len(images.heights):
        raise InputError(
            f"--nodes {max(nodes)}: {max(nodes) * GPUS * batch_size} images of a step are more than an epoch has "
            f"({len(images.heights)}); lower --batch_size"
        )
    figures = Figures(
        images_per_second=images_per_second,
        batch_size=batch_size,
        object_us=object_us,
        balance_window=balance_window,
        core_images_per_second=core_images_per_second,
        cores=cores,
        parameters=parameters,
        gradient_bytes=gradient_bytes,
        bucket_mb=bucket_mb,
        bandwidth=bandwidth,
        node_bandwidth=node_bandwidth,
        latency_us=latency_us,
        evaluation_images_per_second=evaluation_images_per_second or images_per_second,
        scoring_seconds=scoring_seconds,
        checkpoint_seconds=checkpoint_seconds,
        checkpoint_steps=checkpoint_steps,
        failures=failures,
        restart_seconds=restart_seconds,
        epochs=epochs,
    )
    rows = [scale(figures, images, number) for number in nodes]
    table = Table(
        *(Column(name, justify="right") for name in _COLUMNS),
        title=f"Mask R-CNN R50-FPN on COCO, {GPUS} GPUs a node, {batch_size} images a GPU: computed, not measured",
    )
    for row in rows:
        table.add_row(*cells(row))
    Console().print(table)
    if csv is not None:
        text = StringIO()
        writer(text).writerows([list(_COLUMNS), *(cells(row) for row in rows)])
        with atomic_write(csv) as file:
            file.write(text.getvalue().encode())


def cells(row: Row) -> list[str]:
    """Return the cells of a row as they are shown."""
    return [show(row) for show in _COLUMNS.values()]


def _duration(seconds: float) -> str:
    if seconds < 99.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 597 else f"{seconds / 60:.0f} min"


_COLUMNS: dict[str, Callable[[Row], str]] = {
    "nodes": lambda row: f"{row.nodes}",
    "images a step": lambda row: f"{row.global_batch}",
    "waiting": lambda row: f"{1e3 * row.waiting:.2f} ms",
    "all-reduce": lambda row: f"{1e3 * row.all_reduce:.2f} ms",
    "step": lambda row: f"{1e3 * row.step:.1f} ms",
    "images/s": lambda row: f"{row.images_per_second:.0f}",
    "of ideal": lambda row: f"{100 * row.images_per_second / row.ideal:.0f}%",
    "cores a node": lambda row: f"{row.cores:.0f}",
    "epoch": lambda row: _duration(row.epoch),
    "evaluation": lambda row: _duration(row.evaluation),
    "checkpoints": lambda row: f"{100 * row.checkpoints:.1f}%",
    "training": lambda row: _duration(row.training),
    "most lost by": lambda row: row.largest_loss,
}
"""Heading of each column, and what it shows of a row."""
