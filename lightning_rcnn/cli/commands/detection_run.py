"""The outcomes of a call of `lightning-rcnn detect`: results, progress, and what is told at the end."""

import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lightning_rcnn.data.decode import UndecodableImage, open_image
from lightning_rcnn.data.image_files import shown_path
from lightning_rcnn.detection.processes import Detection
from lightning_rcnn.detection.results import ResultsFile
from lightning_rcnn.detection.running import Outcome
from lightning_rcnn.detection.sources import VIDEO_SUFFIXES, Sources, Video
from lightning_rcnn.detection.speed import Speed
from lightning_rcnn.detection.stills import Still
from lightning_rcnn.detection.watching import Watch, pending
from lightning_rcnn.plural import plural

_HEADER_BYTES = 1 << 20
"""Enough for the header of an image; videos are not read to their end."""
_SHOWN = 20
"""Files that a table names."""


class DetectionRun:
    """The outcomes of a call.

    Args:
        results: file of the results.
        detection: processes that hold the detector.
        tile: side of tiles, pixels; None for whole images.
        draws: whether images are drawn.
        console: console for progress and tables.

    Attributes:
        unreadable: images and videos that cannot be read -> reason.
        damaged: images that were read, but whose files are damaged -> reason.
    """

    def __init__(
        self, results: ResultsFile, detection: Detection, tile: int | None, draws: bool, console: Console
    ) -> None:
        self._results, self._detection, self._tile, self._console = results, detection, tile, console
        self._draws = draws
        self._counts: Counter[str] = Counter()
        self._num_done = len(results.done)
        self._num_small = 0
        self._speed = Speed(console, None)
        self.unreadable: dict[str, str] = {}
        self.damaged: dict[str, str] = {}

    def detect_sources(self, sources: Sources) -> None:
        """Process all images that have no results, and all videos."""
        stills = pending(sources.stills, self._results.done)
        if self._num_done:
            print(f"Results are there already for {plural(self._num_done, 'image')}, and missing for {len(stills)}.")
            if self._draws and self._results.drawn.num_missing:
                print(f"{self._results.drawn.num_missing} of them are not drawn; another --out draws them.")
        with Speed(self._console, None if sources.videos else len(stills)).shown() as self._speed:
            self._detect(stills, sources.videos)

    def watch(self, find: Callable[[], Sources], seconds: float) -> None:
        """Process images as they appear, until Ctrl-C or SIGTERM; name at once those that cannot be read."""
        print("Waiting for images; Ctrl-C ends.", flush=True)
        watch = Watch(find, seconds, self._say)
        with suppress(KeyboardInterrupt), _ended_by_sigterm(), Speed(self._console, None, 0).shown() as self._speed:
            for stills, videos in watch:
                left = pending(stills, self._results.done)
                keys = [still.key for still in left] + [video.name for video in videos]
                for key in keys:
                    self.unreadable.pop(key, None)
                if keys:
                    self._detect(left, videos)
                for key in self.unreadable.keys() & keys:
                    self._say(f"Skipped {key}: {self.unreadable[key]}")
                    watch.look_again(key)

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)
        self._console.file.flush()

    def _detect(self, stills: Sequence[Still], videos: Sequence[Video]) -> None:
        if self._draws:
            paths = self._results.drawn
            stills, videos = paths.assign(stills), paths.assign(videos)
        with self._speed.measured():
            for outcome in self._detection.run(stills, videos):
                self._take(outcome)

    def _take(self, outcome: Outcome) -> None:
        if outcome.problem:
            self.unreadable[outcome.key] = outcome.problem
        if outcome.damage:
            self.damaged[outcome.key] = outcome.damage
        if outcome.entry is not None:
            self._results.append(outcome.entry)
            self._counts.update(found["class"] for found in outcome.entry["objects"])
            self._num_small += max(outcome.entry["height"], outcome.entry["width"]) <= (self._tile or 0)
        self._speed.count()

    def report(self, left_out: list[Path], out: Path) -> None:
        """Print what was found, skipped and left out."""
        if self._counts:
            table = Table("class", "objects")
            for name, count in self._counts.most_common():
                table.add_row(escape(name), str(count))
            self._console.print(table)
        for title, reasons in (("skipped", self.unreadable), ("damaged, but used", self.damaged)):
            if reasons:
                self._console.print(_table_of_reasons(title, reasons))
        if left_out:
            self._console.print(_left_out_table(left_out))
        num_images = len(self._results.done) - self._num_done
        if self._num_small:
            print(f"Not cut, as no larger than a tile of {self._tile} pixels: {plural(self._num_small, 'image')}.")
        hint = "" if self._counts or not num_images else "; a lower --threshold may find some"
        before = f", beside {self._num_done} before" if self._num_done else ""
        print(
            f"{plural(self._counts.total(), 'object')} in {plural(num_images, 'image')}{before}{hint}. "
            f"Results are in {out} ({self._speed.images_per_second:.1f} images/s)."
        )


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM, which service managers and containers send, interrupt as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _table_of_reasons(title: str, reasons: Mapping[str, str]) -> Table:
    table = Table(title, "why")
    for path, reason in list(reasons.items())[:_SHOWN]:
        table.add_row(escape(path), escape(reason))
    if len(reasons) > _SHOWN:
        table.add_row(f"and {len(reasons) - _SHOWN} more", "")
    return table


def _left_out_table(paths: list[Path]) -> Table:
    """Return one row per suffix and reason: a folder may hold a text file beside each image."""
    kinds: dict[tuple[str, str], list[Path]] = {}
    for path in paths:
        kinds.setdefault((path.suffix.lower() or "no suffix", _why_left_out(path)), []).append(path)
    table = Table("left out", "files", "first", "why")
    for (suffix, reason), members in kinds.items():
        table.add_row(escape(suffix), str(len(members)), escape(shown_path(members[0])), escape(reason))
    return table


def _why_left_out(path: Path) -> str:
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return "a video, which needs PyAV: pip install 'lightning-rcnn[video]'"
    try:
        with path.open("rb") as file:
            open_image(file.read(_HEADER_BYTES))
    except (OSError, UndecodableImage) as error:
        return str(error)
    return "an image, but not by its suffix: rename it, or give the file itself to --images"
