"""Every way to name images, and one line for each mistake."""

import http.server
import shutil
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from lightning_rcnn.cli.commands.pack import pack_shapes
from lightning_rcnn.data.pack.samples import pack_samples
from lightning_rcnn.detection.drawn_paths import DrawnPaths
from lightning_rcnn.detection.sources import find_sources
from lightning_rcnn.detection.stills import UnreadableImage, path_of_long, shown_name
from lightning_rcnn.errors import InputError


@pytest.fixture
def served(photos):
    """Address of a server of the photos."""
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(photos))
    handler.log_message = None
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def keys(*entries, **options):
    return [still.key for still in find_sources([str(entry) for entry in entries], **options).stills]


def test_files_folders_patterns_and_lists(photos, tmp_path, monkeypatch):
    everything = sorted(str(path) for path in photos.iterdir())
    assert keys(photos) == everything
    assert keys(photos / "0[01].png") == everything[:2]
    assert keys(tmp_path / "**" / "1*.png") == everything[10:]
    assert keys(photos / "00.png", photos, photos / "*.png") == everything  # each once
    monkeypatch.chdir(tmp_path)
    (photos / "list.txt").write_text("photos/00.png\n\n01.png\nphotos/0[2].png\n0[3].png\n")
    assert keys("photos/list.txt") == [f"photos/{number}.png" for number in ("00", "01", "02", "03")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_lists_of_any_editor(photos, tmp_path, encoding):
    text = "# of the first camera\r\n\r\n \t\r\n  00.png \r\n#01.png\r\n0[2].png"
    (photos / "list.txt").write_bytes(text.encode(encoding))
    assert keys(photos / "list.txt") == [str(photos / "00.png"), str(photos / "02.png")]


@pytest.mark.end_to_end
def test_urls_and_shards(photos, served, tmp_path):
    (still,) = find_sources([f"{served}/00.png?token=1"]).stills
    pixels, name, drawn, _ = still.read()
    assert pixels.shape == (3, 64, 64)
    assert name == f"{served}/00.png?token=1"
    assert drawn.as_posix() == "127.0.0.1/00.png.jpg"
    (missing,) = find_sources([f"{served}/none.png"]).stills
    with pytest.raises(UnreadableImage, match=r"^HTTP 404"):
        missing.read()
    pack_shapes(out=tmp_path / "shapes", num=5, seed=3)
    samples = find_sources([str(tmp_path / "shapes")]).stills
    assert [still.read().name for still in samples] == [f"scene-3-{number:06}.jpg" for number in range(5)]
    assert len({still.key for still in samples}) == 5


def test_videos_and_streams(photos, tmp_path):
    (photos / "clip.MP4").write_bytes(b"no video")
    sources = find_sources([str(photos), "rtsp://host/camera", "https://host/a/clip.mov?x=1"])
    assert len(sources.stills) == 12
    assert [(video.address, video.drawn.as_posix()) for video in sources.videos] == [
        ("rtsp://host/camera", "host/camera.mp4"),
        ("https://host/a/clip.mov?x=1", "host/a/clip.mov.mp4"),
        (str(photos / "clip.MP4"), "photos/clip.MP4"),
    ]


def test_mistakes(tmp_path):
    (tmp_path / "empty.txt").write_text("\n# nothing\n")
    (tmp_path / "long.txt").write_text('{"images": "' + 5000 * "x" + '"}')
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9.jpg")
    (tmp_path / "loop.txt").write_text("loop.txt\n")
    (tmp_path / "folder").mkdir()
    for entry, line in (
        ("none.jpg", r"none\.jpg: no such file or folder"),
        ("x/*.jpg", r"x/\*\.jpg: no file matches this pattern"),
        ("empty.txt", r"empty\.txt: the list is empty"),
        ("loop.txt", r"loop\.txt: lists that name lists"),
        ("long.txt", r'^{"images": "x{288}\.\.\.: no such file or folder'),
        ("latin.txt", r"latin\.txt: is not UTF-8"),
        ("folder", r"folder: no image; the names of images match"),
    ):
        with pytest.raises(InputError, match=line):
            find_sources([str(tmp_path / entry)])
    with pytest.raises(InputError, match="an empty name among the images"):
        find_sources([""])
    with pytest.raises(InputError, match=r"http://\[bad/x\.jpg: no valid URL"):
        find_sources(["http://[bad/x.jpg"])
    for without in (tmp_path, tmp_path / "folder"):
        with pytest.raises(InputError, match=r"folder: lies in .*, where results go and no images are taken from"):
            find_sources([str(tmp_path / "folder")], without=without)


def test_no_drawing_replaces_another(tmp_path):
    names = ("a.bmp", "a.bmp.jpg", "b/clip.avi", "c/clip.avi", "c/clip.avi.mp4", "c/a.bmp", f"{'l' * 250}.jpg")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    urls = ["http://host/a.jpg?x=1", "http://host/a.jpg?x=2", "http://host/%00/" + "l" * 300]
    given = [str(tmp_path / name) for name in names[::-1]]
    found = find_sources([*given, *urls, str(tmp_path / "c"), f"{tmp_path}/**/*.*"])
    assert sorted(still.key for still in found.stills) == sorted([*urls, *(one for one in given if "clip" not in one)])
    assert sorted(video.name for video in found.videos) == sorted(one for one in given if "clip" in one)
    paths = DrawnPaths()
    drawn = [one.drawn for one in (*paths.assign(found.stills), *paths.assign(found.videos))]
    assert len(set(drawn)) == len(names) + len(urls)
    for path in drawn:
        (tmp_path / "out" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / path).with_name(f".{path.name}.partial").touch()


@pytest.mark.parametrize("name", ["x.jpg", "x.JPEG", "x.tiff", "x.png", "x.jpg.png.bmp"])
def test_a_long_drawing_replaces_none(name):
    """An image of more than 65,500 pixels is drawn as a PNG, which another image must not have."""
    long = path_of_long(shown_name(Path(name)))
    assert long.suffix == ".png"
    names = [name, long.name, f"{name}.png", f"{long.name}.png", "x.png.png"]
    others = {shown_name(Path(other)) for other in names if other != name}
    assert long not in others
    assert len({path_of_long(other) for other in others} | {long}) == len(others) + 1


def test_the_cut_of_a_name_is_not_that_of_a_long_drawing():
    name = "x" * 216 + ".jpg"
    assert shown_name(Path(f"{name}yyy.png")) != path_of_long(shown_name(Path(name)))


def test_a_name_is_cut_between_letters():
    """Half of one is no text, and could not be printed."""
    for name in ("é" * 250, "a" + "日本" * 100):
        cut = shown_name(Path(f"{name}.jpg")).stem
        assert 217 < len(cut.encode()) <= 220
        assert name.startswith(cut)


@pytest.mark.end_to_end
def test_samples_of_two_sets_are_drawn_apart(tmp_path):
    for name in ("a", "b"):
        pack_shapes(out=tmp_path / name / "val", num=1, seed=3)
    sets = [str(tmp_path / name / "val") for name in ("a", "b")]
    found = find_sources([*sets, f"{sets[0]}/", *(str(path) for path in (tmp_path / "a" / "val").glob("*.tar"))])
    names = ["val/scene-3-000000-1.jpg", "val-2/scene-3-000000-1.jpg"]
    assert [still.read().drawn.as_posix() for still in DrawnPaths().assign(found.stills)] == names


@pytest.fixture
def cameras(tmp_path):
    """Shards, in two files, with an image of the same name from each of two cameras."""
    folder = tmp_path / "shards" / "val"
    samples = [
        {"image": np.full((4, 6, 3), value, np.uint8), "boxes": [[0, 0, 3, 3]], "labels": ["x"], "file_name": name}
        for value, name in enumerate(["1.png", "1.png", "../2.bmp", ".."])
    ]
    pack_samples(samples, folder, shard_size=2)
    return folder


@pytest.mark.parametrize("entry", ["{}", "{}/sub/..", "{}/index.json", "{}/shard-*.tar", "{}/shard-00000{{0..1}}.tar"])
def test_samples_of_one_name_are_drawn_apart_below_images(cameras, entry):
    (cameras / "sub").mkdir()
    found = find_sources([entry.format(cameras)]).stills
    drawn = [still.read().drawn.as_posix() for still in DrawnPaths().assign(found)]
    assert drawn == ["val/1-1.png", "val/1-2.png", "val/2.bmp-3.jpg", "val/image-4.jpg"]


@pytest.mark.parametrize("entry", [".", "../val", "shard-00000?.tar"])
def test_a_set_keeps_its_name_from_its_own_folder(cameras, entry, monkeypatch):
    monkeypatch.chdir(cameras)
    assert {still.drawn.as_posix() for still in find_sources([entry]).stills} == {"val"}


def test_a_pattern_over_two_sets(cameras):
    shutil.copytree(cameras, cameras.parents[1] / "more" / "val")
    both = f"{cameras.parents[1]}/{{shards/val/shard-000000,more/val/shard-000001}}.tar"
    drawn = [still.drawn.as_posix() for still in DrawnPaths().assign(find_sources([both]).stills)]
    assert drawn == ["val", "val", "val-2", "val-2"]


@pytest.mark.parametrize("entry", ["val", "val/shard-000000.tar", "val/*0.tar", "val/shard-{000000..000000}.tar"])
def test_lists_name_shards_relative_to_their_folder(cameras, entry):
    (cameras.parent / "list.txt").write_text(f"{entry}\n")
    samples = find_sources([str(cameras.parent / "list.txt")]).stills
    assert [still.key for still in samples][:2] == [
        f"{cameras}/shard-000000.tar, key {number:09}" for number in range(2)
    ]


def test_patterns_and_videos_in_clouds(tmp_path):
    for name in ("a.jpg", "b.png", "c.jpg"):
        (tmp_path / name).touch()
    url = tmp_path.as_uri()
    found = find_sources([f"{url}/*.jpg", f"{url}/b.png"])
    assert [still.key for still in found.stills] == [f"{url}/a.jpg", f"{url}/c.jpg", f"{url}/b.png"]
    with pytest.raises(InputError, match=r"\*.gif: no file matches this pattern"):
        find_sources([f"{url}/*.gif"])
    with pytest.raises(InputError, match=r"clip.mp4: a video in a cloud; copy it here"):
        find_sources(["s3://bucket/clip.mp4"])
