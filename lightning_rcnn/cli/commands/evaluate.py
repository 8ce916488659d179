"""`lightning-rcnn evaluate`: COCO's and PASCAL VOC's metrics for any results file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from lightning_rcnn.cli.output_paths import require_file, require_folder
from lightning_rcnn.data.decode import UndecodableImage, decode_pixels
from lightning_rcnn.data.file_names import match_names
from lightning_rcnn.data.image_files import find_images
from lightning_rcnn.errors import InputError
from lightning_rcnn.evaluation.analysis.collecting import AnalysisCollector, WorstImage, analysis_of
from lightning_rcnn.evaluation.analysis.findings import findings
from lightning_rcnn.evaluation.coco_ap import CocoAveragePrecision
from lightning_rcnn.evaluation.coco_files import CocoData, read_scored
from lightning_rcnn.evaluation.federated import detection_limit
from lightning_rcnn.evaluation.oks import KEYPOINT_DETECTIONS, sigmas_of
from lightning_rcnn.evaluation.report import analysis_tables, metrics_tables, write_metrics
from lightning_rcnn.evaluation.report_page.page import report_page, write_report
from lightning_rcnn.evaluation.scoring import RegionType, ResultType
from lightning_rcnn.evaluation.voc_ap import VOCAveragePrecision
from lightning_rcnn.pages.pictures import as_jpeg
from lightning_rcnn.plural import plural
from lightning_rcnn.progress import at_work
from lightning_rcnn.settings_checks import Positive

_LOW_SCORE = 0.2
"""Detections whose scores are all above it were probably cut at a threshold: detectors give many of lower scores."""
_MANY = 20
"""Number of detections from which on this is probable."""


def evaluate(
    annotations: Path,
    results: Path,
    type: ResultType = "bbox",
    max_detections: int | None = None,
    voc_iou: float = 0.5,
    oks_sigmas: Sequence[Positive] = (),
    json: Path | None = None,
    report: Path | None = None,
    images: Path | None = None,
) -> None:
    """Score a results file as the COCO API does, and boxes also as PASCAL VOC does, like validations.

    A federated set, whose images have `neg_category_ids`, is scored as LVIS does. Both files are read by the rules of
    `pack`; repairs and omissions are printed. If an images.json beside the results
    names their images, as `detect` writes it, images are matched by file name and classes by name.

    With masks, objects without a usable mask are ignored, and so are detections in their boxes. Annotations may mark
    objects as difficult, by `difficult` or `ignore` = 1: VOC leaves them out, the COCO API does not.

    Args:
        annotations: ground truth, a JSON file in COCO's format.
        results: detections, a JSON list in COCO's results format.
        type: bbox for boxes, segm for masks, keypoints for OKS.
        max_detections: number of detections per image that count, best first; by default 100 for COCO (20 with
            keypoints) and 300 for LVIS. For VOC all count.
        voc_iou: lowest IoU of a true positive for VOC.
        oks_sigmas: standard deviation of each keypoint's annotation, as a share of the object's size, or one for all;
            by default COCO's for COCO's keypoints and .05 for others.
        json: file to write the metrics to as well.
        report: folder for a page for the browser, index.html, with errors, curves, tables and the worst images, and for
            analysis.json, the same for programs.
        images: folder of the images, for the gallery of the report.
    """
    if max_detections is not None and max_detections < 1:
        raise InputError(f"--max_detections {max_detections}: at least 1")
    if not 0 < voc_iou <= 1:
        raise InputError(f"--voc_iou {voc_iou:g}: above 0, at most 1")
    if oks_sigmas and type != "keypoints":
        raise InputError("--oks_sigmas: only keypoints have them; add --type keypoints")
    if report is not None and type == "keypoints":
        raise InputError("--report: its page is of boxes or masks; score keypoints without it")
    if json is not None:
        require_file(json, "--json")
    if report is not None:
        require_folder(report, "--report")
    if images is not None and report is None:
        raise InputError(f"--images {images}: only a report shows images; give --report FOLDER")
    if images is not None and not images.is_dir():
        raise InputError(f"--images {images}: no such folder")
    console = Console()
    with at_work("reading", console):
        data = read_scored(annotations, results, type)
    title = f"{results.name}: {plural(len(data.images), 'image')}"
    metrics: dict[str, dict[str, Any]] = {}
    if type == "keypoints":
        with at_work(f"scoring {plural(len(data.images), 'image')}", console):
            metrics[type] = _coco_figures(data, _keypoint_metric(data, max_detections, oks_sigmas))
        console.print(metrics_tables(metrics, title))
    else:
        collector = AnalysisCollector(type, max_detections or detection_limit(data.federation))
        with at_work(f"scoring {plural(len(data.images), 'image')}", console):
            metrics[type] = _coco_figures(data, _region_metric(data, type, collector))
            if type == "bbox":
                metrics["voc"] = _voc_figures(data, voc_iou)
            for image_id, image in data.images.items():
                collector.name(image_id, image.file_name)
            analyzed = analysis_of([collector.state()], data.class_names, type)
        console.print(metrics_tables(metrics, title))
        console.print(analysis_tables(analyzed.analysis, findings(analyzed.analysis)))
    for note in [*data.notes, *_odd_results(data), *_doubts(data, metrics[type])]:
        print(note)
    objects = [annotation for image in data.images.values() for annotation in image.annotations]
    without_mask = sum("segmentation" not in annotation for annotation in objects) if type == "segm" else 0
    if without_mask:
        print(f"{without_mask} of {len(objects)} objects have no usable mask: neither they nor detections there count.")
    if json is not None:
        write_metrics(json, metrics, epoch=None, step=None)
    if report is None and type != "keypoints":
        print("For a page with curves, confusions and the worst images, give --report FOLDER --images FOLDER.")
    if report is not None and type != "keypoints":
        unread = _read_images(analyzed.worst, images) if images is not None else []
        for note in unread[:1]:
            print(f"Blank in the gallery: {plural(len(unread), 'image')}; the first: {note}.")
        page = report_page({type: analyzed}, metrics, data.class_names, title, f"{results} on {annotations}")
        print(f"The report is {write_report(report, page, [analyzed.analysis])}.")


def _odd_results(data: CocoData) -> list[str]:
    """Return sentences about results that COCO's figures take as they are, and a reader may not."""
    results = [result for image in data.images.values() for result in image.results]
    notes = []
    scores = [result["score"] for result in results]
    if scores and not (min(scores) >= 0 and max(scores) <= 1):
        notes.append(
            f"Scores run from {min(scores):g} to {max(scores):g}. COCO's and VOC's figures need only their order, but "
            "calibration, the order of the worst images and the report's slider take scores for shares from 0 to 1."
        )
    elif len(scores) >= _MANY and _LOW_SCORE < min(scores) < max(scores):
        notes.append(
            f"No score is below {min(scores):.3g}. AP counts detections of every score, so it is too low if others "
            "were left out: detect with --threshold 0.05 for it."
        )
    inverted = sum(min(result["bbox"][2:]) < 0 for result in results if "bbox" in result)
    if inverted:
        notes.append(
            f"{plural(inverted, 'detection')} of negative width or height, on nothing: a box is x, y, width, height."
        )
    return notes


def _doubts(data: CocoData, figures: dict[str, Any]) -> list[str]:
    """Return sentences that warn of files that may not belong together."""
    with_objects = [image for image in data.images.values() if image.annotations]
    with_results = sum(bool(image.results) for image in with_objects)
    if not with_objects:
        return ["No image has an object to find, so there is nothing to score."]
    if all(annotation["iscrowd"] for image in with_objects for annotation in image.annotations):
        return [
            "All objects have iscrowd 1, so there is nothing to score; if they are single objects, as CVAT writes "
            "masks that were drawn with its brush, set iscrowd to 0."
        ]
    if 10 * with_results < len(with_objects):
        return [
            f"Only {with_results} of {len(with_objects)} images with objects have any detection; "
            "are the results of the same images?"
        ]
    if not figures["AP50"]:
        return [
            "AP50 is 0: no detection lies on an object of its class. Do image and category ids mean the same in both "
            "files, and are boxes x, y, width, height in pixels of the annotated image?"
        ]
    return []


def _read_images(worst: Sequence[WorstImage], folder: Path) -> list[str]:
    """Read the images of the gallery; return a reason for each that is missing."""
    files = {file.path.relative_to(folder).as_posix(): file.path for file in find_images([folder]).images}
    matches = match_names([image.file_name for image in worst], set(files), str(folder))
    unread = []
    for image in worst:
        match = matches[image.file_name]
        if match.file is None:
            unread.append(f"no file of {folder} is {image.file_name or 'an image without a name'}{match.hint}")
            continue
        try:
            pixels, _ = decode_pixels(files[match.file].read_bytes(), apply_exif=True)
        except (OSError, UndecodableImage) as error:
            unread.append(f"{files[match.file]}: {error}")
        else:
            image.jpeg = as_jpeg(pixels)
    return unread


def _keypoint_metric(data: CocoData, max_detections: int | None, oks_sigmas: Sequence[float]) -> CocoAveragePrecision:
    assert data.skeleton is not None
    try:
        sigmas = sigmas_of(data.skeleton, oks_sigmas or None)
    except InputError as error:
        raise InputError(str(error).replace("model.oks_sigmas", "--oks_sigmas")) from None
    return CocoAveragePrecision(data.class_names, "keypoints", max_detections or KEYPOINT_DETECTIONS, oks_sigmas=sigmas)


def _region_metric(data: CocoData, result_type: RegionType, collector: AnalysisCollector) -> CocoAveragePrecision:
    """Return the metric of boxes or masks, which gives each image to the collector."""
    metric = CocoAveragePrecision(data.class_names, result_type, collector.max_detections, federation=data.federation)
    metric.observers.append(collector)
    return metric


def _coco_figures(data: CocoData, metric: CocoAveragePrecision) -> dict[str, Any]:
    for image_id, image in data.images.items():
        annotations = image.annotations
        if data.federation is None:
            # The COCO API treats difficult objects like any others; LVIS's ignores them.
            annotations = [{**annotation, "difficult": 0} for annotation in annotations]
        metric.add_image(image_id, image.height, image.width, annotations, image.results, image.label_lists)
    return metric.compute()


def _voc_figures(data: CocoData, iou_threshold: float) -> dict[str, Any]:
    metric = VOCAveragePrecision(data.class_names, iou_threshold)
    for image_id, image in data.images.items():
        metric.add_image(image_id, image.annotations, image.results, image.label_lists)
    return metric.compute()
