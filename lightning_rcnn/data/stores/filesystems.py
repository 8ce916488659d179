"""The file systems of fsspec: one for each store and process.

Credentials, endpoints and regions are what the store's own package finds, in its environment variables and files, and
what fsspec's configuration says.
"""

import os
from typing import Any

import fsspec
from fsspec.spec import AbstractFileSystem

from lightning_rcnn.data.stores.addresses import without_secrets
from lightning_rcnn.errors import InputError

_EXTRAS = {
    **dict.fromkeys(("s3", "s3a"), "s3"),
    **dict.fromkeys(("gs", "gcs"), "gs"),
    **dict.fromkeys(("az", "abfs", "abfss"), "az"),
    "hf": "hf",
}
"""Scheme -> our extra that installs the package for it."""
_filesystems: dict[tuple[int, str, float], AbstractFileSystem] = {}


def filesystem_of(url: str, timeout: float) -> AbstractFileSystem:
    """Return the file system of a URL.

    Args:
        url: URL of a file or folder in a cloud.
        timeout: seconds without a byte after which a request fails, where the file system takes such a limit.

    Raises:
        InputError: no package that is installed reads such URLs, or the URL does not suit it.
    """
    scheme, _, rest = url.partition("://")
    store = f"{scheme}://{rest.partition('/')[0]}"
    # One a process: a forked worker must not use its parent's connections. And none is dropped: fsspec's own cache is
    # emptied after a fork, where closing what the parent has open would wait for a thread that the fork did not copy.
    key = os.getpid(), store, timeout
    if key not in _filesystems:
        _filesystems[key] = _open(url, scheme, timeout)
    return _filesystems[key]


def _open(url: str, scheme: str, timeout: float) -> AbstractFileSystem:
    named = without_secrets(url)
    try:
        fsspec.get_filesystem_class(scheme)
    except ValueError as error:
        raise InputError(
            f"{named}: {scheme}:// is not supported; use a URL that fsspec knows, or pipe: and a command that prints "
            "a file"
        ) from error
    except ImportError as error:
        extra = _EXTRAS.get(scheme)
        what_to_do = f"install it with `pip install 'lightning-rcnn[{extra}]'`" if extra else error
        raise InputError(f"{named}: the package for {scheme}:// is missing; {what_to_do}") from error
    options = _s3_options(timeout) if _EXTRAS.get(scheme) == "s3" else {}
    try:
        filesystem, _ = fsspec.core.url_to_fs(url, skip_instance_cache=True, **options)
    except Exception as error:  # every package has its own
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{named}: cannot be opened ({reason}); correct the URL or the store's settings") from error
    if hasattr(filesystem, "retries"):
        filesystem.retries = 1  # whoever asks has a policy for that, and a number of attempts times another is too many
    return filesystem


def _s3_options(timeout: float) -> dict[str, Any]:
    """Return limits for S3; what the configuration of fsspec says stays."""
    limits = {"connect_timeout": timeout, "read_timeout": timeout, "retries": {"total_max_attempts": 1}}
    return {"config_kwargs": {**limits, **fsspec.config.conf.get("s3", {}).get("config_kwargs", {})}}
