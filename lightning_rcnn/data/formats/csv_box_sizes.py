"""Check that columns that may hold the size of the box or of the image hold the box's.

`x, y, width, height` are a box in most files. In others x and y are a point, or a corner whose opposite one has a name
that is not known, beside the size of the image.
"""

from collections import defaultdict

from lightning_rcnn.data.decode import UndecodableImage, open_image
from lightning_rcnn.data.formats.annotation_files import ImageNames
from lightning_rcnn.data.formats.coco.scalars import number
from lightning_rcnn.data.formats.csv_columns import Table, cell_of, rows_of
from lightning_rcnn.data.formats.layout import Layout
from lightning_rcnn.errors import InputError


def require_box_size(layout: Layout, file: str, table: Table) -> None:
    """Check the sizes in a file whose `Table.assumes_size`.

    Two sizes in one image are of boxes. Otherwise they may be the image's: if they are in all images, or if two more
    columns of numbers may be the opposite corner.

    Raises:
        InputError: they may be the image's.
    """
    sizes: defaultdict[str, set[tuple[float, float]]] = defaultdict(set)
    unknown = set(table.unknown)
    for _, row in rows_of(layout.root / file, table):
        image = cell_of(row, table, "image")
        width, height = (number(cell_of(row, table, side)) for side in ("w", "h"))
        if image and width is not None and height is not None:
            sizes[image].add((width, height))
            unknown -= {index for index in unknown if index >= len(row) or number(row[index]) is None}
    if any(len(stated) > 1 for stated in sizes.values()):
        return
    size = ", ".join(table.names[table.columns[side]] for side in ("w", "h"))
    if len(unknown) > 1:
        others = ", ".join(table.names[index] for index in sorted(unknown))
        reason = f"{size} may be the size of the image, and {others} the edges of the box"
    elif _are_of_images(layout, file, {image: max(stated) for image, stated in sizes.items()}):
        reason = f"{size} are the size of the image in every line, and no box"
    else:
        return
    raise InputError(
        f"{layout.root / file}: {reason}; name the columns of the box with `pack csv --columns x2=NAME,y2=NAME`, or "
        f"with `--columns w={size.replace(', ', ',h=')}` if they are its size"
    )


def _are_of_images(layout: Layout, file: str, sizes: dict[str, tuple[float, float]]) -> bool:
    """Return whether images are there, and all of them have the stated sizes, perhaps before they are turned."""
    names = ImageNames(layout, file)
    num_equal = 0
    for image, stated in sizes.items():
        try:
            size = open_image((layout.root / names.find(image)).read_bytes()).size
        except (OSError, ValueError, UndecodableImage):
            continue
        if sorted(size) != sorted(stated):
            return False
        num_equal += 1
    return num_equal > 0
