"""Detection in one or several processes, one a device: each takes every n-th image, this one gets all outcomes."""

import multiprocessing
import queue
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from lightning_rcnn.data.workers import initialize_worker, signals_blocked
from lightning_rcnn.detection.exported import ExportedDetector
from lightning_rcnn.detection.finishing import process_died
from lightning_rcnn.detection.results import LINES_FILE, Entry, key_of, read_lines
from lightning_rcnn.detection.running import DetectionProcess, Job, Outcome, open_detector
from lightning_rcnn.detection.sources import Video
from lightning_rcnn.detection.stills import Still
from lightning_rcnn.detectors.base import Detector
from lightning_rcnn.errors import InputError

_OUTCOMES_WAITING = 256
_SECONDS_BETWEEN_LOOKS = 1.0


class Detection:
    """Processes that hold the detector and find objects in one round of sources after another.

    Args:
        job: what to do.
        detector: the opened detector, for a single process, which is this one; others open their own.
        out: folder of the results.
        devices: a device for each process.
        stack: closed at the end; it holds the processes.
    """

    def __init__(
        self, job: Job, detector: Detector | ExportedDetector, out: Path, devices: Sequence[str], stack: ExitStack
    ) -> None:
        self._out = out
        self._single = None
        self._tasks: list[Any] = []
        self._processes: list[Any] = []
        if len(devices) == 1:
            self._single = DetectionProcess(replace(job, device=devices[0]), detector, stack)
            return
        context = multiprocessing.get_context("spawn")
        self._outcomes: Any = context.Queue(_OUTCOMES_WAITING)
        stack.callback(self._stop)
        with signals_blocked():
            for device in devices:
                tasks = context.SimpleQueue()
                arguments = (replace(job, device=device), tasks, out, self._outcomes, torch.get_num_threads())
                process = context.Process(target=_work, args=arguments)
                process.start()
                self._tasks.append(tasks)
                self._processes.append(process)

    def run(self, stills: Sequence[Still], videos: Sequence[Video]) -> Iterator[Outcome]:
        """Find objects in images that have no results yet, and in videos.

        Args:
            stills: images; each process takes every n-th.
            videos: videos; frames that have results are drawn, and not detected again.

        Yields:
            Outcomes; with one process in the order of the images.

        Raises:
            InputError: see `DetectionProcess`; a process died.
        """
        if self._single is not None:
            yield from _detect_share(self._single, stills, videos, self._out)
            return
        number = len(self._processes)
        for rank, tasks in enumerate(self._tasks):
            tasks.put((stills[rank::number], videos[rank::number]))
        yield from self._gather()

    def _gather(self) -> Iterator[Outcome]:
        """Yield what the processes send, until all have said that they are done."""
        working = len(self._processes)
        while working:
            try:
                message = self._outcomes.get(timeout=_SECONDS_BETWEEN_LOOKS)
            except queue.Empty:
                dead = [process for process in self._processes if process.exitcode not in (None, 0)]
                if dead:
                    raise InputError(process_died(f" (exit status {dead[0].exitcode})")) from None
                continue
            if message is None:
                working -= 1
            elif isinstance(message, InputError):
                raise message
            else:
                yield message

    def _stop(self) -> None:
        for process in self._processes:
            process.terminate()
            process.join()


def _work(job: Job, tasks: Any, out: Path, outcomes: Any, num_threads: int) -> None:
    """Do a share of each round, in a process of its own, which the main process ends."""
    initialize_worker(0)
    if job.device == "cpu":
        torch.set_num_threads(num_threads)
    with ExitStack() as stack:
        try:
            process = DetectionProcess(job, open_detector(job.model), stack)
            while True:
                stills, videos = tasks.get()
                for outcome in _detect_share(process, stills, videos, out):
                    outcomes.put(outcome)
                outcomes.put(None)
        except InputError as error:
            outcomes.put(error)
            outcomes.close()
            outcomes.join_thread()


def _detect_share(
    process: DetectionProcess, stills: Sequence[Still], videos: Sequence[Video], out: Path
) -> Iterator[Outcome]:
    if stills:
        yield from process.stills(stills)
    for video in videos:
        yield from process.video(video, _frames_of(video, out))


def _frames_of(video: Video, out: Path) -> Mapping[str, Entry]:
    """Return the entries of the frames of a video that have results."""
    path = out / LINES_FILE
    if not path.exists():
        return {}
    return {key_of(entry): entry for entry in read_lines(path) if entry["image"] == video.name and "frame" in entry}
