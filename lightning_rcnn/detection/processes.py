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
from lightning_rcnn.detection.results import LINES_FILE, Entry, key_of, read_lines
from lightning_rcnn.detection.running import DetectionProcess, Job, Outcome
from lightning_rcnn.detection.sources import Video
from lightning_rcnn.detection.stills import Still
from lightning_rcnn.errors import InputError

_OUTCOMES_WAITING = 256
_SECONDS_BETWEEN_LOOKS = 1.0


def detect_all(
    job: Job, stills: Sequence[Still], videos: Sequence[Video], out: Path, devices: Sequence[str]
) -> Iterator[Outcome]:
    """Find objects in images that have no results yet, and in videos.

    Args:
        job: what to do.
        stills: images.
        videos: videos; frames that have results are drawn, and not detected again.
        out: folder of the results.
        devices: a device for each process; one device is that of this process.

    Yields:
        Outcomes; with one device in the order of the images.

    Raises:
        InputError: see `DetectionProcess`; a process died.
    """
    if len(devices) == 1:
        yield from _detect_share(replace(job, device=devices[0]), stills, videos, out)
        return
    context = multiprocessing.get_context("spawn")
    outcomes: Any = context.Queue(_OUTCOMES_WAITING)
    processes = []
    for rank, device in enumerate(devices):
        share = (stills[rank :: len(devices)], videos[rank :: len(devices)])
        arguments = (replace(job, device=device), *share, out, outcomes, torch.get_num_threads())
        processes.append(context.Process(target=_work, args=arguments))
    with signals_blocked():
        for process in processes:
            process.start()
    try:
        yield from _gather(outcomes, processes)
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _gather(outcomes: Any, processes: Sequence[Any]) -> Iterator[Outcome]:
    """Yield what the processes send, until all have said that they are done."""
    working = len(processes)
    while working:
        try:
            message = outcomes.get(timeout=_SECONDS_BETWEEN_LOOKS)
        except queue.Empty:
            dead = [process for process in processes if process.exitcode not in (None, 0)]
            if dead:
                raise InputError(
                    f"a process died (exit status {dead[0].exitcode}), perhaps for memory; the same command goes on "
                    "where it stopped, with a smaller --batch_size if need be"
                ) from None
            continue
        if message is None:
            working -= 1
        elif isinstance(message, InputError):
            raise message
        else:
            yield message


def _work(
    job: Job, stills: Sequence[Still], videos: Sequence[Video], out: Path, outcomes: Any, num_threads: int
) -> None:
    """Do a share of the work, in a process of its own."""
    initialize_worker(0)
    if job.device == "cpu":
        torch.set_num_threads(num_threads)
    try:
        for outcome in _detect_share(job, stills, videos, out):
            outcomes.put(outcome)
    except InputError as error:
        outcomes.put(error)
    else:
        outcomes.put(None)
    outcomes.close()
    outcomes.join_thread()


def _detect_share(job: Job, stills: Sequence[Still], videos: Sequence[Video], out: Path) -> Iterator[Outcome]:
    with ExitStack() as stack:
        process = DetectionProcess(job, stack)
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
