"""Videos in and out."""

import json
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lightning_rcnn.cli.commands.detect import detect
from lightning_rcnn.detection.loading import Prepared, load_frames
from lightning_rcnn.detection.running import DetectionProcess, Job
from lightning_rcnn.detection.sources import Video
from lightning_rcnn.detection.video import Frame, VideoError, read_frames, video_writer
from lightning_rcnn.detectors.loading import load_detector
from lightning_rcnn.detectors.tiles_and_views import TilesAndViews
from lightning_rcnn.errors import InputError

av = pytest.importorskip("av")
TIMES = [0.0, 0.04, 0.08, 0.2, 0.24, 0.28, 0.32, 0.36]
"""Seconds; the rate is not constant."""


@pytest.fixture
def clip(tmp_path):
    """A video of gray frames that get brighter."""
    path = tmp_path / "clip.mp4"
    with video_writer(path) as writer:
        for number, seconds in enumerate(TIMES):
            picture = Image.fromarray(np.full((91, 120, 3), 20 * number, dtype=np.uint8))
            writer.write(picture, Frame(number, seconds, 25))
    return path


def test_frames_and_times_come_back(clip):
    frames = list(read_frames(str(clip)))
    assert [frame.number for frame, _ in frames] == list(range(8))
    assert [frame.seconds for frame, _ in frames] == pytest.approx(TIMES, abs=1e-3)
    for number, (_, pixels) in enumerate(frames):
        assert pixels.shape == (3, 90, 120)  # H.264 has even sides
        assert abs(pixels.float().mean().item() - 20 * number) < 4


def test_a_turned_video_is_shown_as_players_show_it(clip, tmp_path):
    path = tmp_path / "turned.mov"
    with av.open(str(clip)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    data = bytearray(path.read_bytes())
    # The matrix of the track header: 90 degrees clockwise, as phones write it.
    start = data.index(b"tkhd") + 4 + 40
    matrix = [0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000]
    data[start : start + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in matrix)
    path.write_bytes(data)
    _, pixels = next(read_frames(str(path)))
    assert pixels.shape == (3, 120, 90)


def test_results_of_each_frame_and_a_drawn_video_also_after_an_interruption(checkpoint, clip, tmp_path):
    out = tmp_path / "out"
    options = {"device": "cpu", "precision": "32-true", "workers": 0, "batch_size": 3}
    detect(checkpoint, [str(clip)], out, **options)
    lines = (out / "results.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    assert [entry["frame"] for entry in entries] == list(range(8))
    assert [entry["seconds"] for entry in entries] == pytest.approx(TIMES, abs=1e-3)
    drawn = [pixels for _, pixels in read_frames(str(out / "images" / "clip.mp4"))]
    assert len(drawn) == 8
    assert drawn[0].shape == (3, 480, 640)  # as large as a drawn image
    assert drawn[0].float().std() > 10  # boxes on a black frame
    # The run was killed after five frames.
    (out / "results.jsonl").write_text("\n".join(lines[:5]) + "\n" + lines[5][:40])
    (out / "images" / "clip.mp4").unlink()
    detect(checkpoint, [str(clip)], out, **options)
    assert [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()] == entries
    for again, before in zip(read_frames(str(out / "images" / "clip.mp4")), drawn, strict=True):
        assert (again[1].float() - before.float()).abs().mean() < 1


def write_noise(path, times):
    """Write a video whose frames begin at all but the last of these times, in seconds, when it ends."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    tick = Fraction(1, 1000)
    durations = np.diff([round(time / tick) for time in times]).tolist()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=5, options={"tune": "zerolatency"})
        stream.width, stream.height, stream.pix_fmt = 60, 40, "yuv420p"
        stream.codec_context.time_base = tick
        for number, (time, duration) in enumerate(zip(times, durations, strict=False)):
            frame = av.VideoFrame.from_ndarray(np.roll(noise, number, 1), format="rgb24")
            frame.pts, frame.time_base = round(time / tick), tick
            for packet in stream.encode(frame):
                packet.duration = duration
                container.mux(packet)


def test_a_file_that_was_cut_off_keeps_its_frames_and_says_so(tmp_path):
    whole, cut = tmp_path / "whole.mkv", tmp_path / "cut.mkv"
    write_noise(whole, [number / 5 for number in range(21)])
    assert len(list(read_frames(str(whole)))) == 20
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    frames = read_frames(str(cut))
    assert next(frames)[0].number == 0
    with pytest.raises(VideoError, match=r"breaks off after \d+ frames: at \d\.\d of 4\.0 seconds"):
        list(frames)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("times", [[0, 0.2, 0.4, 12], [0, 0.2, 8, 8.2, 12], [20, 20.2, 20.4, 20.6]])
def test_a_whole_file_is_whole_also_if_it_ends_with_a_still_or_begins_late(tmp_path, times, suffix):
    path = tmp_path / f"whole{suffix}"
    write_noise(path, times)
    seconds = [frame.seconds for frame, _ in read_frames(str(path))]
    assert seconds == pytest.approx([time - times[0] for time in times[:-1]], abs=1e-3)


def write_coded(path, codec, pixel_format):
    noise = np.random.default_rng(0).integers(0, 256, (12, 64, 96, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, pixel_format
        for pixels in noise:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return bytearray(path.read_bytes())


def test_what_comes_after_damage_is_found_and_the_damage_named(tmp_path):
    path = tmp_path / "packets.mov"
    content = write_coded(path, "png", "rgb24")
    signature = content.index(b"\x89PNG", content.index(b"\x89PNG") + 1)
    content[signature : signature + 8] = bytes(8)
    path.write_bytes(content)
    frames = read_frames(str(path))
    times = [round(next(frames)[0].seconds, 3) for _ in range(11)]
    assert times == [0, *(number / 10 for number in range(2, 12))]
    with pytest.raises(VideoError, match="1 of its packets cannot be decoded; the results have 11 other frames"):
        next(frames)

    path = tmp_path / "frames.avi"
    content = write_coded(path, "mpeg4", "yuv420p")
    middle = len(content) // 2
    content[middle : middle + 60] = bytes(range(60))
    path.write_bytes(content)
    damages = [frame.damage for frame, _ in read_frames(str(path))]
    assert len(damages) == 12
    assert 0 < damages.count("the data of the frame are damaged") < 12
    images = list(
        load_frames(Video(str(path), "frames.avi", Path("frames.mp4")), lambda pixels: Prepared(pixels, None), 0)
    )
    assert [image.damage for image in images] == damages


def test_bad_videos_are_one_line(clip, checkpoint, photos, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")
    empty, text = (tmp_path / name for name in ("empty.mp4", "text.mp4"))
    with av.open(str(empty), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), "fltp", "mono")
        frame.rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    text.write_text("no video")
    with pytest.raises(VideoError, match="no video in it, only other streams"):
        list(read_frames(str(empty)))
    with pytest.raises(VideoError, match="not a video: "):
        list(read_frames(str(text)))
    with pytest.raises(VideoError, match="not a video: "):
        list(read_frames("http://127.0.0.1:9/stream.mp4"))
    out = tmp_path / "out"
    with pytest.raises(InputError, match=r"none of 1 files can be read; .*text\.mp4: not a video"):
        detect(checkpoint, [str(text)], out, device="cpu", workers=0)
    assert not out.exists()
    # Among others it is skipped.
    detect(checkpoint, [str(text), str(photos)], out, device="cpu", workers=0, no_images=True)
    assert "text.mp4 │ not a video" in capsys.readouterr().out
    assert len((out / "results.jsonl").read_text().splitlines()) == 12


def test_a_lost_loader_is_no_full_disk(checkpoint, clip, tmp_path, monkeypatch):
    """Its broken connection is an OSError, as one of the drawn video's file is."""

    def broken(*arguments):
        yield next(load_frames(*arguments))
        raise ConnectionResetError

    monkeypatch.setattr("lightning_rcnn.detection.running.load_frames", broken)
    job = Job(checkpoint, "cpu", "32-true", 0.5, 1, TilesAndViews(), 0, tmp_path / "drawn")
    with ExitStack() as stack:
        outcomes = DetectionProcess(job, load_detector(checkpoint), stack).video(
            Video(str(clip), "clip", Path("clip.mp4")), {}
        )
        with pytest.raises(InputError, match="a process died, perhaps for memory"):
            list(outcomes)
    assert list((tmp_path / "drawn").iterdir()) == []
