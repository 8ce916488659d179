"""A run folder in a cloud, and the copy of it that a command works in."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from lightning_rcnn.callbacks.checkpoints import FOLDER
from lightning_rcnn.cli.run_lock import is_held
from lightning_rcnn.data.fetch import FetchPolicy
from lightning_rcnn.data.stores.addresses import is_cloud, is_remote
from lightning_rcnn.data.working_copy import ChangedElsewhereError, WorkingCopy
from lightning_rcnn.errors import InputError


def copy_of_run(run_dir: str | None, checkpoint: str | None, command: str) -> WorkingCopy | None:
    """Return an up-to-date copy of the run folder if it is in a cloud: as given, or except for `fit` the checkpoint's.

    Raises:
        InputError: the cloud cannot be read, or nothing can be written at such a URL.
    """
    url = run_dir or (None if command == "fit" else _run_of(checkpoint))
    if url is None or not is_remote(url):
        return None
    if not is_cloud(url):
        raise InputError(f"--run_dir {url}: nothing can be written there; give a folder, or the URL of a cloud")
    copy = WorkingCopy(url, FetchPolicy())
    if not is_held(copy.folder):  # a training on this machine works in it, and has the newest files
        copy.pull()
    return copy


def in_copy(copy: WorkingCopy, checkpoint: str | None) -> str | None:
    """Return the path in the copy of a checkpoint that is given by its URL; others as they are."""
    if checkpoint is None or not checkpoint.startswith(f"{copy.url}/"):
        return checkpoint
    return str(copy.folder / checkpoint.removeprefix(f"{copy.url}/"))


def push_after_checkpoint(copy: WorkingCopy, path: Path) -> None:
    """Send what is new when a checkpoint was written to the run folder, not when one was written elsewhere.

    Raises:
        ChangedElsewhereError: see `push_or_warn`.
    """
    if path.resolve().is_relative_to(copy.folder.resolve()):
        push_or_warn(copy)


def push_or_warn(copy: WorkingCopy) -> None:
    """Send what is new; a cloud that cannot be reached must not end a training, whose files are here.

    Raises:
        ChangedElsewhereError: another process writes to the same run folder.
    """
    try:
        copy.push()
    except ChangedElsewhereError:
        raise
    except InputError as error:
        rank_zero_warn(f"{error}; files that are not sent are in {copy.folder}, and are tried again")


@contextmanager
def pushed_at_end(written: Callable[[], WorkingCopy | None]) -> Iterator[None]:
    """Send what is new at the end of a command, however it ends.

    Args:
        written: returns the copy that this process has written to, or None.

    Raises:
        InputError: the command succeeded, but its files cannot be sent.
    """
    try:
        yield
    except BaseException:
        if (copy := written()) is not None:
            push_or_warn(copy)
        raise
    if (copy := written()) is not None:
        copy.push()


def _run_of(checkpoint: str | None) -> str | None:
    """Return the URL of the run folder that a checkpoint at a URL is in; None if it is in no run folder."""
    if checkpoint is None or not is_cloud(checkpoint) or Path(checkpoint).parent.name != FOLDER:
        return None
    return checkpoint.rsplit("/", 2)[0]
