"""Addresses of files: local paths, URLs of servers and clouds, and commands that print a file."""

import posixpath
import re
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit, urlunsplit

PIPE = "pipe:"
_HTTP = ("http://", "https://")
_URL = re.compile(r"[a-z][a-z0-9+.-]*://")
_USER = re.compile(r"(?<=://)[^/@]*@")
_FILE_IN_COMMAND = re.compile(r"[^/\s'\"=]+\.(?:tar|json)(?![\w.])")


def is_remote(address: str) -> bool:
    """Return whether the address is a URL or a command, not a local path."""
    return address.startswith(PIPE) or _URL.match(address) is not None


def is_cloud(address: str) -> bool:
    """Return whether the address is a URL that fsspec reads: of S3, for example, but not of HTTP."""
    return is_remote(address) and not address.startswith((PIPE, *_HTTP))


def without_secrets(address: str) -> str:
    """Return the address for messages.

    A URL's query may contain a secret signature, and what stands before the host a password. In a cloud a question
    mark is a part of a name or of a pattern.
    """
    if address.startswith(PIPE):
        return address
    return _USER.sub("", address if is_cloud(address) else address.split("?")[0])


def names_file(address: str) -> bool:
    """Return whether the address of a shard or an index names it, instead of its folder; a command must name one."""
    if address.startswith(PIPE):
        return _FILE_IN_COMMAND.search(address) is not None
    return file_name(address).endswith((".tar", ".json"))


def file_name(address: str) -> str:
    """Return the last part of the address: the name of the file, or of its folder."""
    if address.startswith(PIPE):
        return _FILE_IN_COMMAND.findall(address)[-1]
    if address.startswith(_HTTP):
        return posixpath.basename(urlsplit(address).path)
    return address.rpartition("/")[2] if is_remote(address) else Path(address).name


def inside(address: str, name: str) -> str:
    """Return the address of a file in the folder at a URL."""
    if not address.startswith(_HTTP):
        return f"{address.rstrip('/')}/{name}"
    parts = urlsplit(address)
    return urlunsplit(parts._replace(path=posixpath.join(parts.path, name)))


def path_below(url: str) -> PurePosixPath:
    """Return a relative path for what belongs to a URL here: scheme, host or bucket, and path."""
    scheme, _, rest = without_secrets(url).partition("://")
    return PurePosixPath(scheme, *(step for step in rest.split("/") if step not in ("", ".", "..")))


def sibling(address: str, name: str) -> str:
    """Return the address with the file name replaced."""
    if address.startswith(PIPE):
        *_, last = _FILE_IN_COMMAND.finditer(address)
        return address[: last.start()] + name + address[last.end() :]
    if address.startswith(_HTTP):
        parts = urlsplit(address)
        return urlunsplit(parts._replace(path=posixpath.join(posixpath.dirname(parts.path), name)))
    return f"{address.rpartition('/')[0]}/{name}" if is_remote(address) else str(Path(address).with_name(name))
