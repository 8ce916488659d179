"""Watching of folders: images that appear, each once, as soon as it is whole."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from lightning_rcnn.detection.sources import Sources, Video
from lightning_rcnn.detection.stills import FileImage, Still
from lightning_rcnn.errors import InputError


class Watch:
    """Looks for new images and videos again and again.

    A local file counts as whole when its size and time have not changed between two looks, so one that is being copied
    waits.

    A copy may pause for longer than that, and its file be taken too early; `look_again` gives it another turn.

    A look that fails, because a folder is gone for a while, is reported once, and the next one may succeed.

    Args:
        find: function that lists all sources.
        seconds: seconds between two looks.
        report: function that gets the line about a look that fails.
    """

    def __init__(self, find: Callable[[], Sources], seconds: float, report: Callable[[str], None] = print) -> None:
        self._find, self._seconds, self._report = find, seconds, report
        self._problem = ""
        self._states: dict[str, tuple[int, int]] = {}
        self._unreadable: dict[str, tuple[int, int]] = {}
        self._seen: set[str] = set()

    def __iter__(self) -> Iterator[tuple[list[Still], list[Video]]]:
        """Yield what is new, without end; looks that find nothing are not yielded."""
        while True:
            sources = self._look()
            stills = [still for still in sources.stills if still.key not in self._seen and self._is_whole(still)]
            videos = [
                video
                for video in sources.videos
                if video.name not in self._seen and self._has_settled(video.name, Path(video.address))
            ]
            self._seen |= {still.key for still in stills} | {video.name for video in videos}
            if stills or videos:
                yield stills, videos
            time.sleep(self._seconds)

    def look_again(self, key: str) -> None:
        """Yield a local file again as soon as it has changed, since it could not be read.

        Args:
            key: key of an image or name of a video that was yielded.
        """
        if key in self._states:
            self._unreadable[key] = self._states[key]
            self._seen.discard(key)

    def _look(self) -> Sources:
        try:
            sources = self._find()
        except InputError as error:
            if str(error) != self._problem:
                self._report(f"{error}; looking again every {self._seconds:g} seconds")
            self._problem = str(error)
            return Sources([], [], [])
        self._problem = ""
        return sources

    def _is_whole(self, still: Still) -> bool:
        return not isinstance(still, FileImage) or self._has_settled(still.key, still.path)

    def _has_settled(self, key: str, path: Path) -> bool:
        try:
            status = path.stat()
        except OSError:
            return "://" in key  # a stream has no file; a file that is gone is no image
        state = (status.st_size, status.st_mtime_ns)
        if self._states.get(key) == state:
            return self._unreadable.get(key) != state
        self._states[key] = state
        return False


def pending(stills: Sequence[Still], done: set[str]) -> list[Still]:
    """Return the images that have no results yet."""
    return [still for still in stills if still.key not in done]
