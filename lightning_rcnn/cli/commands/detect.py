"""`lightning-rcnn detect`: objects in images and videos, as lines of JSON, in COCO's form and drawn."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from hashlib import file_digest
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console

from lightning_rcnn.checkpoints.header import read_header
from lightning_rcnn.checkpoints.sources import checkpoint_file
from lightning_rcnn.cli.commands.detected_files import require_new_folder, write_detected
from lightning_rcnn.cli.commands.detection_run import DetectionRun
from lightning_rcnn.cli.output_paths import require_folder
from lightning_rcnn.data.formats.write.registry import FormatName
from lightning_rcnn.data.image_files import NoImageError
from lightning_rcnn.data.workers import suggested_workers
from lightning_rcnn.detection.exported import SUFFIXES, ExportedDetector
from lightning_rcnn.detection.processes import Detection
from lightning_rcnn.detection.results import SETTINGS_FILE, ResultsFile, read_lines, write_coco
from lightning_rcnn.detection.running import Job, open_detector
from lightning_rcnn.detection.sources import Sources, find_sources
from lightning_rcnn.detection.stills import FileImage
from lightning_rcnn.detectors.base import Detector
from lightning_rcnn.detectors.tiles_and_views import OVERLAP, TilesAndViews
from lightning_rcnn.errors import InputError, require_extra
from lightning_rcnn.plural import plural
from lightning_rcnn.precision import FLOAT32, PrecisionName, choose_precision


def detect(
    checkpoint: str,
    images: list[str],
    out: Path,
    threshold: float | Literal["best", "best_per_class"] = 0.5,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    precision: PrecisionName = "auto",
    batch_size: int = 1,
    workers: int | None = None,
    processes: int | None = None,
    tile: int | None = None,
    overlap: float = OVERLAP,
    tta: str = "",
    nms_across_classes: bool = False,
    max_pixels: int | None = None,
    no_images: bool = False,
    watch: bool = False,
    watch_seconds: float = 2.0,
    format: FormatName | None = None,
) -> None:
    """Find objects in images and videos.

    Writes to OUT: results.jsonl, a line for each image or frame as soon as it is done; images/, each image or video
    with its detections; at the end results.json, the detections in COCO's results format, with masks as RLE if the
    detector has them; and images.json, which maps its ids to file and class names, as COCO's annotation files do.

    After an interruption the same command continues where it stopped. Images that cannot be read are skipped and named
    at the end.

    Args:
        checkpoint: checkpoint that `fit` or `convert` wrote, or a .onnx or .pt2 file of `export`; or its URL.
        images: images and videos, folders to search for them, patterns in quotes, URLs, packed shards, and .txt files
            with one of these a line.
        out: folder for the results.
        threshold: lowest score of a detection, 0 to 1; best takes the one with the best F1, which `validate` stores in
            the checkpoint, and best_per_class that of each class. Evaluate results.json with a low one, such as 0.05.
        device: device to compute on; auto takes all GPUs if there are any.
        precision: bf16-mixed or 32-true; auto takes bf16-mixed for a checkpoint if the device supports it.
        batch_size: number of images in a pass of the network, if they have the same size after resizing; of tiles with
            --tile.
        workers: processes that load images, and as many that paste masks and draw; by default the cores less one, up to
            8, shared by --processes. 0 does all in one process.
        processes: processes that run the network; by default one per GPU, or one.
        tile: side in pixels of the tiles that larger images are cut into; by default none.
        overlap: share of a tile that its neighbors show, too; objects of that size are whole in one of them.
        tta: test-time augmentations: flip, vertical_flip, scales; several with commas, such as flip,scales.
        nms_across_classes: let boxes of different classes suppress each other, too, so that an object has one class.
        max_pixels: largest number of pixels of an image; by default 178956970, Pillow's protection from files that are
            small and hide a huge image.
        no_images: write no drawn images and videos, which is faster.
        watch: wait for new images in the folders until Ctrl-C or SIGTERM.
        watch_seconds: seconds between two looks with --watch.
        format: also write OUT/FORMAT/, the image files and detections as annotations that label tools open: coco, yolo,
            voc, labelme, csv, or masks.
    """
    _check(threshold, watch_seconds)
    counts = {"batch_size": batch_size, "workers": workers, "processes": processes, "max_pixels": max_pixels}
    _require_counts(counts)
    try:
        options = TilesAndViews(tile, overlap, tta, nms_across_classes)
    except InputError as error:
        raise InputError(f"--{error}") from error
    model = checkpoint_file(checkpoint)
    best = _best_thresholds(model, threshold) if isinstance(threshold, str) else {}
    drawn = None if no_images else out / "images"
    find = partial(_find, images, out, drawn, watch)
    sources = find()
    _require_own(drawn, out)
    if format is not None:
        require_new_folder(out / format)
        _require_files(sources, format)
    detector = open_detector(model)
    scores = _least_scores(threshold, best, detector.class_names)
    devices = _devices(device, processes, detector)
    chosen = _precision(precision, devices[0], detector)
    if workers is None:
        workers = suggested_workers(len(devices))
    require_folder(out, "--out")
    settings = {
        "checkpoint": _digest(model),
        "threshold": scores,
        "precision": chosen,
        "tile": tile,
        "overlap": None if tile is None else overlap,
        "views": [list(view) for view in options.views],
        "nms_across_classes": nms_across_classes,
    }
    results = ResultsFile(out, settings)
    job = Job(model, devices[0], chosen, scores, batch_size, options, workers, drawn, max_pixels)
    with ExitStack() as stack:
        detection = Detection(job, detector, out, devices, stack)
        run = DetectionRun(results, detection, tile, drawn is not None, Console())
        run.watch(find, watch_seconds) if watch else run.detect_sources(sources)
    if not results.done and run.unreadable:
        results.discard()
        path, reason = next(iter(run.unreadable.items()))
        raise InputError(f"none of {len(run.unreadable)} files can be read; {path}: {reason}")
    results.close()
    write_coco(results.path, detector.category_ids, detector.class_names)
    if format is not None:
        lines = read_lines(results.path)
        remarks = write_detected(
            format,
            out / format,
            lines,
            detector.category_ids,
            detector.class_names,
            detector.skeleton,
            detector.keypoints_drawn_above,
        )
        for remark in remarks:
            print(remark)
    run.report(sources.left_out, out)


def _check(threshold: float | str, watch_seconds: float) -> None:
    if not isinstance(threshold, str) and not 0 <= threshold <= 1:
        raise InputError(f"--threshold {threshold}: a score is from 0 to 1")
    if not watch_seconds > 0:
        raise InputError(f"--watch_seconds {watch_seconds:g}: more than 0")


def _require_counts(counts: Mapping[str, int | None]) -> None:
    for name, number in counts.items():
        least = 0 if name == "workers" else 1
        if number is not None and number < least:
            raise InputError(f"--{name} {number}: a whole number, at least {least}")


def _find(images: list[str], out: Path, drawn: Path | None, watch: bool) -> Sources:
    """Find the sources; an empty folder is no error if it is watched, and a video beside images none without PyAV."""
    try:
        sources = find_sources([str(entry) for entry in images], without=out)
    except NoImageError:
        if watch and all(Path(entry).is_dir() for entry in images):
            return Sources([], [], [])
        raise
    _require_outside(sources, drawn)
    if sources.videos and find_spec("av") is None:
        if not sources.stills:
            require_extra("av", "video", sources.videos[0].name)
        return Sources(sources.stills, [], [*(Path(video.address) for video in sources.videos), *sources.left_out])
    return sources


def _require_own(drawn: Path | None, out: Path) -> None:
    """Refuse a folder for drawn images that has files of another origin, which a drawing could replace."""
    if drawn is not None and drawn.is_dir() and any(drawn.iterdir()) and not (out / SETTINGS_FILE).exists():
        raise InputError(
            f"--out {out}: its images/ is of another origin, since there is no {SETTINGS_FILE}; give another folder, "
            "remove that one, or add --no_images"
        )


def _require_outside(sources: Sources, drawn: Path | None) -> None:
    """Refuse an input that a drawn image could replace."""
    if drawn is None or not drawn.is_dir():
        return
    folder = drawn.resolve()
    paths = [still.path for still in sources.stills if isinstance(still, FileImage)]
    paths += [Path(video.address) for video in sources.videos if "://" not in video.address]
    for path in paths:
        if path.resolve().is_relative_to(folder):
            raise InputError(
                f"{path}: lies in {drawn}, where drawn images go and would replace it; give another --out, or "
                "--no_images"
            )


def _require_files(sources: Sources, format: str) -> None:
    """Check that all sources are image files, which are copied beside their annotations."""
    others = [still.key for still in sources.stills if not isinstance(still, FileImage)]
    others += [video.name for video in sources.videos]
    if others:
        raise InputError(f"--format {format}: {others[0]} is no image file; give files and folders of images only")
    for still in sources.stills:
        if isinstance(still, FileImage) and still.key != str(still.path):
            raise InputError(f"--format {format}: {still.key}: its name is not UTF-8, as annotations are; rename it")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return f"{path.name} ({file_digest(file, 'sha256').hexdigest()[:12]})"


def _best_thresholds(checkpoint: Path, threshold: str) -> dict[str, Any]:
    if checkpoint.suffix.lower() in SUFFIXES:
        raise InputError(f"--threshold {threshold}: an exported file holds none; give a score")
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
    print(f"--threshold best_per_class: {span} for {plural(len(known), 'class')}{rest}.")
    return [per_class.get(name, overall) for name in class_names]


def _precision(name: PrecisionName, device: str, detector: Detector | ExportedDetector) -> str:
    """Return the precision to compute in."""
    if isinstance(detector, Detector):
        return choose_precision(name, torch.device(device).type)
    if name == "auto":
        return FLOAT32  # in which the file was compared with its checkpoint
    if name != FLOAT32 and not detector.has_free_precision:
        raise InputError(
            f"--precision {name}: .onnx files and compiled ones compute in {FLOAT32}; give the checkpoint, or a .pt2 "
            "file"
        )
    return name


def _devices(name: str, processes: int | None, detector: Detector | ExportedDetector) -> list[str]:
    """Return a device for each process."""
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: there is no GPU that torch can use")
    if name == "cuda" and isinstance(detector, ExportedDetector):
        raise InputError("--device cuda: exported files run on the CPU here; give the checkpoint")
    if name == "cpu" or not torch.cuda.is_available() or isinstance(detector, ExportedDetector):
        return ["cpu"] * (processes or 1)
    num_gpus = torch.cuda.device_count()
    return [f"cuda:{number % num_gpus}" for number in range(processes or num_gpus)]
