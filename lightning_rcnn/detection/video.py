"""Frames of videos and streams, and videos of drawn frames, by PyAV (the extra `video`).

torchvision 0.29 has no video reader any more, and the successor that it names, torchcodec, needs an installed FFmpeg;
PyAV's wheels bring theirs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

_TIMEOUT = 30.0
"""Seconds without data after which a stream has ended."""
_DEFAULT_RATE = Fraction(25)
_TIME_BASE = Fraction(1, 90_000)
"""Ticks of the written video, in seconds, fine enough for every frame rate."""
_MISSING = 1.0
"""Seconds by which the last frame may end before the stated end of a video."""
_MISSING_SHARE = 0.02
"""The same as a share of the video."""
_DAMAGE = "the data of the frame are damaged"
_TURNS = {90: 1, 180: 2, 270: 3}


class VideoError(Exception):
    """Raised when a video cannot be read, has no frames, or breaks off; the message is the reason."""


class Frame(NamedTuple):
    """Position of a frame.

    Attributes:
        number: number of the frame, from 0.
        seconds: time from the start of the video.
        rate: frames a second, as the video states it.
        damage: what is wrong with it; empty if nothing.
    """

    number: int
    seconds: float
    rate: Fraction
    damage: str = ""


def read_frames(address: str) -> Iterator[tuple[Frame, Tensor]]:
    """Decode the first video stream of a file or URL, turned as players turn it; sound is left out.

    Yields:
        Position and pixels of each frame, uint8 RGB [3, h, w].

    Raises:
        VideoError: it cannot be opened, has no frame, or breaks off; or frames between others are lost.
    """
    import av

    index = num_lost = 0
    try:
        with av.open(address, timeout=_TIMEOUT) as container:
            if not container.streams.video:
                raise VideoError("no video in it, only other streams")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            rate = Fraction(stream.average_rate or stream.guessed_rate or _DEFAULT_RATE)
            stated_end = _stated_end(container, stream)
            start = end = None
            for packet in container.demux(stream):
                try:
                    pictures = packet.decode()
                except av.error.InvalidDataError:  # as players do, go on with what comes after it
                    num_lost += 1
                    continue
                for picture in pictures:
                    time = float(index / rate) if picture.time is None else picture.time
                    start = time if start is None else start
                    yield Frame(index, time - start, rate, _DAMAGE if picture.is_corrupt else ""), _pixels(picture)
                    index += 1
                    end = time + _shown_for(picture, rate)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise VideoError(f"breaks off after {index} frames: {reason}" if index else f"not a video: {reason}") from error
    if start is None or end is None:
        raise VideoError("has no frames")
    if num_lost:
        raise VideoError(f"{num_lost} of its packets cannot be decoded; the results have {index} other frames")
    # A file that was cut off ends like a whole one for the decoder.
    if stated_end is not None and stated_end - end > max(_MISSING, _MISSING_SHARE * (stated_end - start)):
        raise VideoError(f"breaks off after {index} frames: at {end - start:.1f} of {stated_end - start:.1f} seconds")


def _shown_for(picture: Any, rate: Fraction) -> float:
    """Return for how many seconds a frame is shown; not every format states it."""
    return float(picture.duration * picture.time_base if picture.duration and picture.time_base else 1 / rate)


def _stated_end(container: Any, stream: Any) -> float | None:
    """Return when a video ends by its header, seconds; None if that is unknown, or says when its sound ends.

    A stream that states when it begins states its own length. That of a Matroska file counts from 0, also where the
    first frame comes later.
    """
    if stream.duration is not None and stream.start_time is not None:
        return float((stream.start_time + stream.duration) * stream.time_base)
    return container.duration / 1e6 if container.duration and len(container.streams) == 1 else None


def _pixels(picture: Any) -> Tensor:
    pixels = picture.to_ndarray(format="rgb24")
    turns = _TURNS.get(round(getattr(picture, "rotation", 0)) % 360)
    return torch.from_numpy(np.ascontiguousarray(np.rot90(pixels, turns) if turns else pixels)).permute(2, 0, 1)


class VideoWriter:
    """Writes frames as H.264 in MP4, which browsers play; open it with `video_writer`."""

    def __init__(self, container: Any) -> None:
        self._container = container
        self._stream: Any = None
        self._last = -1

    def write(self, picture: Image.Image, frame: Frame) -> None:
        """Append a frame; all have the size of the first, less an odd row or column."""
        import av

        if self._stream is None:
            self._stream = self._container.add_stream("libx264", rate=frame.rate, options={"crf": "20"})
            self._stream.width, self._stream.height = picture.width // 2 * 2, picture.height // 2 * 2
            self._stream.pix_fmt = "yuv420p"
            self._stream.codec_context.time_base = _TIME_BASE
        size = (self._stream.width, self._stream.height)
        fitted = picture.crop((0, 0, *size)) if picture.width - size[0] in (0, 1) else picture.resize(size)
        encoded = av.VideoFrame.from_ndarray(np.asarray(fitted), format="rgb24")
        self._last = max(self._last + 1, round(frame.seconds / _TIME_BASE))
        encoded.pts, encoded.time_base = self._last, _TIME_BASE
        self._container.mux(self._stream.encode(encoded))

    def finish(self) -> None:
        """Write the frames that the encoder holds back."""
        if self._stream is not None:
            self._container.mux(self._stream.encode())


@contextmanager
def video_writer(path: Path) -> Iterator[VideoWriter]:
    """Open a video for writing; it gets its name only when it is whole, and its folder is created.

    Raises:
        OSError: it cannot be written.
    """
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        with av.open(str(partial), "w", format="mp4") as container:
            writer = VideoWriter(container)
            yield writer
            writer.finish()
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
