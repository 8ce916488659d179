import numpy as np
import pytest
import torch
from PIL import Image

from lightning_rcnn.visualization import Objects, compare, contact_sheet, save_image, side_by_side
from lightning_rcnn.visualization.sheets import MAX_SHEET_WIDTH


def plain(width, height, color=(200, 0, 0)):
    return Image.new("RGB", (width, height), color)


def objects(num):
    return Objects(torch.tensor([[5.0, 5, 20, 20]]).repeat(num, 1), torch.arange(1, num + 1))


def test_images_stand_side_by_side_under_their_captions():
    row = np.asarray(side_by_side([plain(640, 480), plain(640, 480, (0, 0, 200))], ["left", "right"]))
    caption_height = row.shape[0] - 480
    assert (row[caption_height:, :640] == (200, 0, 0)).all()
    assert (row[caption_height:, -640:] == (0, 0, 200)).all()
    assert (row[:caption_height, :640] < 100).any()
    assert (row[:caption_height, -640:] < 100).any()


def test_a_comparison_ends_with_a_legend_that_grows_with_the_classes():
    image = torch.zeros(3, 48, 64, dtype=torch.uint8)
    names = [f"a class with number {i}" for i in range(60)]
    few, many = (compare(image, objects(n), objects(0), names, ("truth", "found")) for n in (2, 60))
    assert few.width == many.width
    assert many.height > few.height


@pytest.mark.parametrize(("num", "size"), [(1, (50, 2)), (5, (640, 480)), (8, (1300, 540)), (300, (60, 40))])
def test_a_contact_sheet_holds_every_image(num, size):
    sheet = contact_sheet([plain(*size)] * num)
    assert sheet.width <= MAX_SHEET_WIDTH
    red = (np.asarray(sheet) == (200, 0, 0)).all(axis=2)
    scale = min(1, red.any(axis=0).sum() / size[0])
    assert red.sum() >= 0.95 * num * size[0] * size[1] * min(1, scale) ** 2 or sheet.width > 0.9 * MAX_SHEET_WIDTH


def test_a_contact_sheet_of_pairs_is_about_square():
    sheet = contact_sheet([plain(1300, 540)] * 8)
    assert 0.6 < sheet.width / sheet.height < 1.6


@pytest.mark.parametrize("name", ["sheet.png", "sheet.jpg"])
def test_an_image_replaces_its_predecessor_and_leaves_nothing_else(tmp_path, name):
    path = tmp_path / "new folder" / name
    for width in (10, 20):
        save_image(plain(width, 5), path)
        assert Image.open(path).size == (width, 5)
    assert list(path.parent.iterdir()) == [path]


def test_an_image_that_cannot_be_written_leaves_its_predecessor(tmp_path):
    path = tmp_path / "sheet.jpg"
    save_image(plain(10, 5), path)
    with pytest.raises(OSError, match="cannot write mode RGBA as JPEG"):
        save_image(Image.new("RGBA", (20, 5)), path)
    assert Image.open(path).size == (10, 5)
    assert list(tmp_path.iterdir()) == [path]


def test_an_unknown_image_format_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"sheet\.pgn: unknown image format '\.pgn'"):
        save_image(plain(10, 5), tmp_path / "sheet.pgn")
