"""The form of the boxes in Parquet files, which no set states: by where they lie in their images, and their areas."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from lightning_rcnn.data.decode import UndecodableImage, open_image
from lightning_rcnn.data.formats.box_forms import FORMS, choose_form
from lightning_rcnn.data.formats.coco.relative import are_relative, polygons_of
from lightning_rcnn.data.formats.coco.scalars import number
from lightning_rcnn.data.formats.coco.segmentations import read_segmentation
from lightning_rcnn.data.formats.json_fields import BoxForm, edges_of_box, size_of
from lightning_rcnn.data.formats.layout import Layout
from lightning_rcnn.data.formats.parquet_columns import ImageTable, boxes_in, column_in, contents_of, find_image
from lightning_rcnn.data.formats.parquet_rows import Row, read_row
from lightning_rcnn.errors import InputError

_AREA = "area"
_SURE = 0.98
"""Share of the boxes whose area is the stated one in the right form."""
_ROWS_TO_TRY, _IMAGES_TO_OPEN = 400, 40


def are_shares(tables: Sequence[ImageTable]) -> bool:
    """Return whether boxes, or else polygons, are shares of the image's size."""
    contents = ((table, content) for table in tables for _, content in contents_of(table))
    if "boxes" in tables[0].fields:
        return are_relative(box for table, content in contents for box in boxes_in(table, content))
    masks = (mask for table, content in contents for mask in column_in(content, table.fields["masks"]))
    return are_relative(polygon for mask in masks for polygon in polygons_of(read_segmentation(mask)))


def recognize_form(layout: Layout, tables: Sequence[ImageTable], is_relative: bool, where: str) -> BoxForm:
    """Return the form of the boxes: the one whose areas are as stated, or the only one that fits the images.

    In pixels, center and size are not considered: of small objects they fit wherever corner and size do, and no set in
    Hugging Face's documentation has them.

    Raises:
        InputError: several forms fit, or none, or no image can be opened.
    """
    where = f"{where}, {tables[0].fields['boxes']}"
    with_boxes = [(table, row) for table in tables for row, content in contents_of(table) if boxes_in(table, content)]
    chosen = with_boxes[:: max(1, len(with_boxes) // _ROWS_TO_TRY)]
    tried = [(table, row, read_row(row, table.labels)) for table, row in chosen]
    forms: Sequence[BoxForm] = FORMS if is_relative else ("xyxy", "xywh")
    by_area = [form for form in forms[:2] if _share_of_areas(tried, form) >= _SURE]
    usual = by_area[0] if len(by_area) == 1 else None
    sized = list(_sizes_and_boxes(layout, tried))
    if tried and not sized:
        raise InputError(f"{where}: no image can be opened to tell the form of the boxes; say it with --boxes xywh")
    return choose_form(sized, where, usual, forms)


def _share_of_areas(tried: Iterable[tuple[ImageTable, Row, dict[str, Any]]], form: BoxForm) -> float:
    """Return the share of the boxes whose area is that in a column `area` beside them, to a hundredth."""
    matches = []
    for table, _, content in tried:
        folder = table.fields["boxes"].rpartition(".")[0]
        boxes, areas = boxes_in(table, content), column_in(content, f"{folder}.{_AREA}" if folder else _AREA)
        if len(boxes) != len(areas):
            return 0
        for box, stated in zip(boxes, areas, strict=True):
            edges, area = edges_of_box(box, form), number(stated)
            if edges is not None and area:
                x1, y1, x2, y2 = edges
                matches.append(min(x2 - x1, y2 - y1) > 0 and abs((x2 - x1) * (y2 - y1) / area - 1) <= 1 - _SURE)
    return sum(matches) / len(matches) if matches else 0


def _sizes_and_boxes(
    layout: Layout,
    tried: Iterable[tuple[ImageTable, Row, dict[str, Any]]],
) -> Iterator[tuple[tuple[int, int], list[list[float]]]]:
    """Yield the (width, height) and the boxes of each row that has some."""
    num_opened = 0
    for table, row, content in tried:
        boxes = boxes_in(table, content)
        size = size_of(content, table.fields)
        if not all(size or (0,)) and num_opened < _IMAGES_TO_OPEN:
            num_opened += 1
            try:
                size = open_image(find_image(layout, table, row)).size
            except (UndecodableImage, OSError, ValueError):
                continue
        if size and all(size):
            yield size, boxes
