"""Read the manifests of Amazon's SageMaker Ground Truth and Rekognition: JSON Lines with the boxes of one labeling job.

    {"source-ref": "s3://bucket/a.jpg", "job": {"image_size": [...], "annotations": [{"class_id": 0, "left": 5, ...}]},
     "job-metadata": {"class-map": {"0": "cat"}, ...}}

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/sms-data-output.html
"""

from functools import partial
from typing import Any

from lightning_rcnn.data.defects import Defect
from lightning_rcnn.data.formats.annotation_files import ImageNames
from lightning_rcnn.data.formats.coco.scalars import listed
from lightning_rcnn.data.formats.coco.sizes import stated_size
from lightning_rcnn.data.formats.image_lines import Content, files_of, read_image_lines
from lightning_rcnn.data.formats.labeled import LabeledData, LabeledImage, LabeledObject, Labels, LabelsError
from lightning_rcnn.data.formats.layout import Layout
from lightning_rcnn.data.formats.shapes import box_from_sizes, class_name_of, malformed

_IMAGE = "source-ref"


def sagemaker_files(layout: Layout) -> list[str]:
    """Return the manifests of jobs that draw boxes."""
    return files_of(layout, (".manifest", ".jsonl"), lambda content: _IMAGE in content and bool(_jobs(content)))


def read_sagemaker(layout: Layout) -> LabeledData:
    """List a data set of manifests.

    Raises:
        InputError: there is none, or a line is malformed.
    """
    return read_image_lines(layout, sagemaker_files(layout), _read_image)


def _jobs(content: Content) -> list[str]:
    """Return the keys of the jobs that draw boxes."""
    return [key for key, value in content.items() if isinstance(value, dict) and "annotations" in value]


def _read_image(names: ImageNames, content: Content) -> LabeledImage | None:
    """Return the image of a line; None if its job failed, or was not done."""
    jobs = _jobs(content)
    return (
        LabeledImage(names.find(str(content.get(_IMAGE) or "")), partial(_read_labels, content, jobs)) if jobs else None
    )


def _read_labels(content: Content, jobs: list[str]) -> Labels:
    if len(jobs) > 1:
        raise LabelsError(f"has boxes of several jobs: {', '.join(jobs)}; leave one of them in the manifest")
    job, metadata = content[jobs[0]], content.get(f"{jobs[0]}-metadata")
    stated = metadata.get("class-map") if isinstance(metadata, dict) else None
    names = stated if isinstance(stated, dict) else {}
    sizes = job.get("image_size")
    size = sizes[0] if isinstance(sizes, list) and sizes and isinstance(sizes[0], dict) else {}
    numbered = enumerate(listed(job["annotations"]), start=1)
    objects = [_read_box(each, names, f"annotation {index}") for index, each in numbered]
    return Labels(objects, stated_size(size.get("width"), size.get("height")))


def _read_box(each: Any, names: dict[str, Any], place: str) -> LabeledObject:
    if not isinstance(each, dict):
        return malformed(f"{place}: not an object")
    written = class_name_of(each.get("class_id"))
    name = class_name_of(names.get(written or ""))
    if name is None:
        return LabeledObject(None, place=f"{place}: class_id {written}", lost=Defect.UNKNOWN_CLASS)
    return box_from_sizes(name, (each.get(key) for key in ("left", "top", "width", "height")), place)
