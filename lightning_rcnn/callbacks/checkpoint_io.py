"""How checkpoints reach the disk. A file with the name of one is always whole, also after `kill -9`."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from lightning_rcnn.checkpoints.sources import checkpoint_file
from lightning_rcnn.checkpoints.split import joined
from lightning_rcnn.data.fetch import FetchPolicy, send_file
from lightning_rcnn.data.stores.addresses import file_name, is_cloud
from lightning_rcnn.errors import InputError
from lightning_rcnn.files import atomic_save
from lightning_rcnn.stale_files import read_past_stale


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint to a partial file and renames it when it is whole.

    Lightning's own writes to the system's temporary folder, often on another disk, to which a file is copied instead of
    renamed; and it holds the whole checkpoint in memory twice.

    Args:
        after_save: called with the path of each local file that is written; it copies the run folder to a cloud if that
            is where it belongs.
    """

    def __init__(self, after_save: Callable[[Path], None] | None = None) -> None:
        super().__init__()
        self._after_save = after_save
        self._expendable: set[Path] = set()

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write `checkpoint`: see `write` and `only_warns_if_expendable`."""
        with self.only_warns_if_expendable(path):
            self.write(checkpoint, path)

    def write(self, checkpoint: dict[str, Any], path: str | Path) -> None:
        """Write a checkpoint to a local file or to the URL of a file in a cloud.

        Raises:
            InputError: it cannot be written; the file that was there before is untouched.
        """
        if is_cloud(str(path)):
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder, file_name(str(path)))
                _write(checkpoint, file)
                send_file(file, str(path), FetchPolicy())
            return
        _write(checkpoint, Path(path))
        if self._after_save is not None:
            self._after_save(Path(path))

    def make_expendable(self, path: Path) -> None:
        """Note that a training needs no file at `path`: it is warned of if it cannot be written."""
        self._expendable.add(path)

    @contextmanager
    def only_warns_if_expendable(self, path: str | Path) -> Iterator[None]:
        """Write a file inside this: an error is a warning if the training can do without the file."""
        try:
            yield
        except InputError as error:
            if Path(path) not in self._expendable:
                raise
            reason = " ".join(str(error.__cause__ or error).split())[-200:]
            rank_zero_warn(f"{path}: cannot be written ({reason}); the training continues without it: make room")

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Callable[..., Any] | None = lambda storage, location: storage,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Read a local file or one at a URL, see Lightning's; the tensors of a split checkpoint are put together.

        Raises:
            InputError: it cannot be downloaded, or its tensors are missing.
        """
        self.wait()
        file = checkpoint_file(path)
        content = read_past_stale(partial(super().load_checkpoint, file, map_location, weights_only), file)
        return joined(content, Path(file))

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a file, also one that is still being written."""
        self.wait()
        super().remove_checkpoint(path)

    def begin(self) -> None:
        """Prepare for a training: nothing."""

    def when_written(self, call: Callable[[], None]) -> None:
        """Call something when all checkpoints so far are on the disk: at once."""
        call()

    def check(self) -> None:
        """Finish what is written in the background: nothing."""

    def wait(self) -> None:
        """Wait for what is written in the background: nothing."""

    def failures(self) -> list[Exception]:
        """Wait, and return the errors instead of raising them: none."""
        return []


def _write(checkpoint: dict[str, Any], path: Path) -> None:
    try:
        atomic_save(checkpoint, path)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror or error}); the previous checkpoint is untouched: "
            "make room and resume with --ckpt_path last"
        ) from error
