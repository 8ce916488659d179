"""Remote shards as local files: one cache folder for all processes of a node.

A shard is fetched when its first sample is asked for, by one process while the others that want it wait, and appears
under its final name only when whole and verified. The name holds the shard's sha256, so data sets share a cache without
ever mixing. When the folder grows beyond its limit the shards that were opened longest ago go; a process that has one
of them open reads on undisturbed, and one that comes too late fetches it again.
"""

import contextlib
import os
from pathlib import Path

from filelock import FileLock

from lightning_rcnn.data.fetch import FetchPolicy, fetch_file, is_remote
from lightning_rcnn.data.index import Shard
from lightning_rcnn.errors import InputError


class ShardCache:
    """Finds a local file for each shard.

    Args:
        folder: where fetched shards are kept; the user's cache folder if None.
        limit_bytes: size beyond which shards are removed. It has to hold the shards that are read at the same time,
            or each of them is fetched again and again.
        policy: patience with remote addresses.
    """

    def __init__(self, folder: str | Path | None, limit_bytes: float, policy: FetchPolicy) -> None:
        self.folder = Path(folder).expanduser() if folder is not None else default_folder()
        self.limit_bytes = limit_bytes
        self.policy = policy

    def local_path(self, address: str, shard: Shard) -> Path:
        """The shard as a local file, fetched if need be.

        Raises:
            InputError: it cannot be fetched or stored.
        """
        if not is_remote(address):
            return Path(address)
        path = self.folder / f"{shard.sha256[:16]}-{shard.name}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{path}.lock"):
                if not path.exists():
                    self._fetch(address, shard, path)
                os.utime(path)
        except OSError as error:
            raise InputError(
                f"{self.folder}: cannot hold fetched shards ({error}); set data.fetching.cache_dir"
            ) from error
        return path

    def _fetch(self, address: str, shard: Shard, path: Path) -> None:
        """Fetch into a temporary file; the caller holds the lock, so nobody else writes it."""
        partial = path.with_name(f"{path.name}.partial")
        try:
            fetch_file(address, partial, min_size=shard.offsets[-1], sha256=shard.sha256, policy=self.policy)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        self._remove_oldest(keep=path)

    def _remove_oldest(self, keep: Path) -> None:
        files = []
        for path in self.folder.glob("*.tar"):
            with contextlib.suppress(FileNotFoundError):  # another process removes at the same time
                status = path.stat()
                files.append((status.st_mtime, status.st_size, path))
        excess = sum(size for _, size, _ in files) - self.limit_bytes
        for _, size, path in sorted(files):
            if excess <= 0:
                return
            if path != keep:
                path.unlink(missing_ok=True)
                excess -= size


def default_folder() -> Path:
    """`lightning-rcnn/shards` in the user's cache folder (XDG_CACHE_HOME, else ~/.cache)."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "lightning-rcnn" / "shards"
