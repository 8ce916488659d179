"""No drawing replaces another, also of an earlier call."""

from pathlib import Path

from lightning_rcnn.detection.drawn_paths import DrawnPaths
from lightning_rcnn.detection.sources import Video
from lightning_rcnn.detection.stills import FileImage, RemoteImage, ShardImage


def images(*names):
    """Image files, each with the last two parts of its path as the wished path."""
    return [FileImage(Path(name), Path(*Path(name).parts[-2:])) for name in names]


def after(*entries):
    paths = DrawnPaths()
    for entry in entries:
        paths.add(entry)
    return paths


def drawn(paths, sources):
    return [source.drawn.as_posix() for source in paths.assign(sources)]


def test_a_call():
    paths = DrawnPaths()
    assert drawn(paths, images("a/x/1.jpg", "b/x/1.jpg", "c/x/1.jpg")) == ["x/1.jpg", "x/1-2.jpg", "x/1-3.jpg"]
    # A later round of the same call, as in watching, knows its images again.
    assert drawn(paths, images("d/x/1.jpg", "x/1-2.jpg")) == ["x/1-4.jpg", "x/1-2-2.jpg"]
    assert drawn(paths, [RemoteImage("http://host/1.jpg", Path("x"))]) == ["x-2"]  # x is a folder
    assert drawn(paths, [FileImage(Path("y/x-2/z.jpg"), Path("x-2/z.jpg"))]) == ["x-2-2/z.jpg"]  # and x-2 an image


def test_later_calls():
    first = {"image": "a/x.jpg", "drawn": "x.jpg"}, {"image": "b/y/1.jpg", "drawn": "y/1.jpg"}
    assert drawn(after(*first), images("c/y/1.jpg", "y")) == ["y/1-2.jpg", "y-2"]
    assert drawn(after(*first), [FileImage(Path("c/x.jpg"), Path("x.jpg"))]) == ["x-2.jpg"]
    again = after({"image": "a/x.jpg"}, *first)  # nothing was drawn of the first
    assert again.num_missing == 1
    assert drawn(again, [FileImage(Path("a/x.jpg"), Path("x.jpg"))]) == ["x.jpg"]


def test_a_video_goes_on_in_its_own_file():
    video = Video("b/clip.mp4", "b/clip.mp4", Path("clip.mp4"))
    frames = [
        {"image": "a/clip.mp4", "frame": 0, "drawn": "clip.mp4"},
        {"image": "b/clip.mp4", "frame": 0, "drawn": "clip-2.mp4"},
    ]
    other = Video("c/clip.mp4", "c/clip.mp4", Path("clip.mp4"))
    assert drawn(after(*frames), [other, video]) == ["clip-3.mp4", "clip-2.mp4"]


def test_each_set_has_a_folder():
    def sample(folder, number):
        return ShardImage(None, number, Path("val"), folder)

    entry = {"image": "0.jpg", "sample": "a/val/shard-000000.tar, key 000000000", "drawn": "val/0.jpg"}
    paths = after(entry)
    samples = [sample("b/val", 0), sample("a/val", 1), sample("b/val", 1), sample("a/val", 2)]
    assert drawn(paths, samples) == ["val-2", "val", "val-2", "val"]
    assert drawn(paths, [FileImage(Path("val/0.jpg"), Path("val/0.jpg"))]) == ["val-3/0.jpg"]


def test_many_images_of_one_name_take_no_time():
    names = [f"{number}/0.jpg" for number in range(3000)]
    sources = [FileImage(Path(name), Path("0.jpg")) for name in names]
    assert len({source.drawn for source in DrawnPaths().assign(sources)}) == len(names)
