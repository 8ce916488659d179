"""`lightning-rcnn detect`: detections in image files, drawn and as JSON."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lightning_rcnn.checkpoints.header import read_header
from lightning_rcnn.cli.output_paths import require_folder
from lightning_rcnn.data.decode import UndecodableImage, decode_image, open_image
from lightning_rcnn.data.image_files import find_images, shown_path
from lightning_rcnn.detectors.inference import detect_tensors
from lightning_rcnn.detectors.loading import load_detector
from lightning_rcnn.errors import InputError
from lightning_rcnn.evaluation.coco_results import NAMES_FILE, coco_results, names_behind_ids, write_json
from lightning_rcnn.precision import PrecisionName, autocast, choose_precision
from lightning_rcnn.progress import track
from lightning_rcnn.structures import ImageRecord
from lightning_rcnn.visualization import Objects, draw_objects, save_image

_HEADER_BYTES = 1 << 20
"""Enough for the header of an image; videos are not read to their end."""


def detect(
    checkpoint: Path,
    images: list[Path],
    out: Path,
    threshold: float | Literal["best", "best_per_class"] = 0.5,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    precision: PrecisionName = "auto",
) -> None:
    """Find objects in image files.

    Writes to OUT: images/, each image with its detections; results.json, the detections in COCO's results format,
    with masks as RLE if the detector has them; and images.json, which maps its ids to file and class names, as COCO's
    annotation files do.

    Args:
        checkpoint: checkpoint that `fit` or `convert` wrote.
        images: image files, and folders to search for them.
        out: folder for the results.
        threshold: lowest score of a detection, 0 to 1; best takes the one with the best F1, which `validate` stores in
            the checkpoint, and best_per_class that of each class. Evaluate results.json with a low one, such as 0.05.
        device: device to compute on; auto takes a GPU if there is one.
        precision: bf16-mixed or 32-true; auto takes bf16-mixed if the device supports it.
    """
    if not isinstance(threshold, str) and not 0 <= threshold <= 1:
        raise InputError(f"--threshold {threshold}: a score is from 0 to 1")
    best = _best_thresholds(checkpoint, threshold) if isinstance(threshold, str) else {}
    files, left_out = find_images(images, without=out)
    detector = load_detector(checkpoint).to(_device(device))
    least_scores = _least_scores(threshold, best, detector.class_names)
    chosen = choose_precision(precision, detector.device.type)
    console = Console()
    counts: Counter[str] = Counter()
    unreadable: dict[Path, str] = {}
    shown: list[ImageRecord] = []
    results: list[dict[str, Any]] = []
    for file in track(files, "Detecting", console):
        try:
            image = decode_image(file.path.read_bytes(), apply_exif=True)
        except (OSError, UndecodableImage) as error:
            unreadable[file.path] = str(error)
            continue
        if not shown:
            require_folder(out, "--out")
        record = ImageRecord(len(shown) + 1, str(file.path), height=image.shape[1], width=image.shape[2])
        shown.append(record)
        with autocast(chosen, detector.device):
            (detections,) = detect_tensors(detector, [image], least_scores)
        entries = coco_results(detections, 0, record, detector.category_ids, detector.mask_paste)
        masks = None if detections.masks is None else [entry["segmentation"] for entry in entries]
        objects = Objects(
            detections.boxes[0].cpu(), detections.labels[0].cpu(), detections.scores[0].cpu(), masks=masks
        )
        save_image(draw_objects(image, objects, detector.class_names), out / "images" / _image_name(file.name))
        results += entries
        counts.update(detector.class_names[label - 1] for label in detections.labels[0].tolist())
    if not shown:
        path, reason = next(iter(unreadable.items()))
        raise InputError(f"none of {len(files)} files can be read; {shown_path(path)}: {reason}")
    write_json(out / "results.json", results)
    write_json(out / NAMES_FILE, names_behind_ids(shown, detector.category_ids, detector.class_names))
    _report(console, len(shown), counts, unreadable, left_out, out)


def _best_thresholds(checkpoint: Path, threshold: str) -> dict[str, Any]:
    thresholds = read_header(checkpoint).thresholds
    if not thresholds:
        raise InputError(
            f"--threshold {threshold}: {checkpoint} holds none; `validate --ckpt_path {checkpoint}` finds it, or give "
            "a score"
        )
    return thresholds


def _least_scores(threshold: float | str, best: dict[str, Any], class_names: Sequence[str]) -> float | list[float]:
    """Return the threshold, one for all classes or one for each, and say which if the checkpoint has chosen it."""
    if not isinstance(threshold, str):
        return threshold
    overall, per_class = best["score"], best["per_class"]
    if threshold == "best":
        print(f"--threshold best: {overall:.3f}.")
        return overall
    known = [per_class[name] for name in class_names if name in per_class]
    span = f"{min(known):.3f} to {max(known):.3f}" if known else "none of its own"
    others = len(class_names) - len(known)
    rest = f"; the one over all classes, {overall:.3f}, for the {others} without a true positive" if others else ""
    print(f"--threshold best_per_class: {span} for {len(known)} classes{rest}.")
    return [per_class.get(name, overall) for name in class_names]


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: there is no GPU that torch can use")
    return torch.device(name)


def _image_name(name: Path) -> Path:
    """Return the name of the image, with the suffix of a format that every program shows."""
    return name if name.suffix.lower() in (".jpg", ".jpeg", ".png") else name.with_name(f"{name.name}.jpg")


def _report(
    console: Console,
    num_images: int,
    counts: Counter[str],
    unreadable: dict[Path, str],
    left_out: list[Path],
    out: Path,
) -> None:
    if counts:
        table = Table("class", "objects")
        for name, count in counts.most_common():
            table.add_row(escape(name), str(count))
        console.print(table)
    if unreadable:
        skipped = Table("skipped", "why")
        for path, reason in unreadable.items():
            skipped.add_row(escape(shown_path(path)), escape(reason))
        console.print(skipped)
    if left_out:
        console.print(_left_out_table(left_out))
    hint = "" if counts else "; a lower --threshold may find some"
    print(f"{counts.total()} objects in {num_images} images{hint}. Images and results.json are in {out}.")


def _left_out_table(paths: list[Path]) -> Table:
    """Return one row per suffix and reason: a folder may hold a text file beside each image."""
    kinds: dict[tuple[str, str], list[Path]] = {}
    for path in paths:
        kinds.setdefault((path.suffix.lower() or "no suffix", _why_left_out(path)), []).append(path)
    table = Table("left out", "files", "first", "why")
    for (suffix, reason), members in kinds.items():
        table.add_row(escape(suffix), str(len(members)), escape(shown_path(members[0])), escape(reason))
    return table


def _why_left_out(path: Path) -> str:
    try:
        with path.open("rb") as file:
            open_image(file.read(_HEADER_BYTES))
    except (OSError, UndecodableImage) as error:
        return str(error)
    return "an image, but not by its suffix: rename it, or give the file itself to --images"
