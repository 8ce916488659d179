"""Sources of weights: a file, a URL, or a name that stands for a URL.

Downloads are cached in torch.hub's folder (`TORCH_HOME`): under the name of the file if it has a hash, where
torchvision finds it too; else under its address, as many files are called `model_final.pth`. Files in clouds may be
written again, as `last.ckpt` is: a copy counts as long as the store says that the file is the same.
"""

import re
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.error import URLError
from urllib.parse import urlparse
from urllib.request import Request, urlopen

import torch
from filelock import FileLock
from torchvision.models import get_model_weights, get_weight, list_models

from lightning_rcnn.checkpoints.detectron2_zoo import ENTRIES, zoo_file
from lightning_rcnn.checkpoints.missing import describe_missing
from lightning_rcnn.data.fetch import FetchPolicy, fetch_file, file_state
from lightning_rcnn.data.stores.addresses import file_name, is_cloud, is_remote, path_below
from lightning_rcnn.errors import InputError
from lightning_rcnn.files import atomic_write
from lightning_rcnn.suggestions import did_you_mean

DETECTRON2_PREFIX = "detectron2://"
_DETECTRON2_FILES = "https://dl.fbaipublicfiles.com/detectron2/"
_OF_CONFIGURATIONS = (".yaml", ".yml", ".py")
_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,})\.")


def local_file(source: str, key: str = "weights") -> Path:
    """Return the file that a source names; download it if it is not cached.

    Args:
        source: a file; a URL, also of a cloud; `detectron2://` and a path, as in detectron2's configurations; a
            configuration of detectron2's model zoo (`COCO-Detection/faster_rcnn_R_50_FPN_3x.yaml`); or a name of
            torchvision's: a model (`fasterrcnn_resnet50_fpn_v2`), or weights (`ResNet50_Weights.IMAGENET1K_V2`).
        key: setting that holds the source, for messages.

    Raises:
        InputError: the source is unknown, or cannot be downloaded.
    """
    if Path(source).is_file() and zoo_file(source) is None:  # beside a clone of detectron2, a name is a file, too
        if Path(source).suffix in _OF_CONFIGURATIONS:
            raise InputError(f"{key} {source}: a configuration, not weights; give the weights, and --config {source}")
        return Path(source)
    url = url_of(source)
    if url is None and is_cloud(source):
        return _copy_of(source, f"{key} ")
    if url is None and Path(source).is_dir():
        raise InputError(f"{key} {source}: {describe_missing(Path(source))}")
    if url is None:
        near = did_you_mean(source, [*list_models(), *(f"{name}.yaml" for name in ENTRIES)])
        raise InputError(f"{key} {source}: neither a file, nor a URL, nor a name of weights{near}")
    below = _cache_path(url)
    if not PurePosixPath(urlparse(url).path).name or ".." in below.parts:
        raise InputError(f"{key} {source}: {url} is not the address of a file")
    path = Path(torch.hub.get_dir()) / "checkpoints" / below
    if not path.is_file():
        _download(url, path, f"{key} {source}")
    return path


def checkpoint_file(checkpoint: str | Path) -> Path:
    """Return the file of a checkpoint of ours, given as path or URL; a path need not exist.

    Raises:
        InputError: it cannot be downloaded.
    """
    return local_file(str(checkpoint), "checkpoint") if is_remote(str(checkpoint)) else Path(checkpoint)


def url_of(source: str) -> str | None:
    """Return the URL of a source; None if it is neither a URL nor a known name."""
    if source.startswith(DETECTRON2_PREFIX):
        return _DETECTRON2_FILES + source.removeprefix(DETECTRON2_PREFIX)
    if source.startswith(("http://", "https://", "file://")):
        return source
    if below := zoo_file(source):
        return _DETECTRON2_FILES + below
    if source in list_models():
        return get_model_weights(source).DEFAULT.url
    try:
        return get_weight(source).url
    except (ValueError, KeyError, AttributeError):
        return None


def _cache_path(url: str) -> PurePosixPath:
    """Return the path of a download below the cache folder."""
    if url.startswith(_DETECTRON2_FILES):
        return PurePosixPath("detectron2", url.removeprefix(_DETECTRON2_FILES).lstrip("/"))
    address = urlparse(url)
    path = PurePosixPath(address.path.lstrip("/"))
    return PurePosixPath(path.name) if _HASH_IN_NAME.search(path.name) else address.netloc / path


def _copy_of(url: str, what: str) -> Path:
    """Return a copy of a file in a cloud as it is now."""
    policy = FetchPolicy()
    try:
        state = file_state(url, policy)
        folder = Path(torch.hub.get_dir(), "checkpoints", path_below(url)).parent
        path = folder / f"{state.version}-{file_name(url)}"
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder / file_name(url)}.lock"):
            if not path.is_file():
                with atomic_write(path) as file:
                    fetch_file(url, file, min_size=state.size, sha256=None, policy=policy)
            for other in folder.glob(f"*-{file_name(url)}"):
                if other != path and len(other.name) == len(path.name):
                    other.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{what}{url}: cannot be stored in {folder} ({error.strerror})") from error
    except InputError as error:
        raise InputError(f"{what}{error}") from error
    return path


def _download(url: str, path: Path, what: str) -> None:
    expected = _HASH_IN_NAME.search(path.name)
    partial = path.with_name(f".{path.name}.partial")  # torch.hub writes to a path, not to an open file
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        if path.is_file():  # another process of this machine has downloaded it
            return
        try:
            torch.hub.download_url_to_file(url, str(partial), expected and expected[1], progress=True)
            _check_length(partial, url)
            partial.replace(path)
        except (HTTPException, URLError, OSError, RuntimeError, ValueError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise InputError(
                f"{what}: cannot download {url} ({reason}); put the file at {path}, or give a file"
            ) from error
        finally:
            partial.unlink(missing_ok=True)


def _check_length(path: Path, url: str) -> None:
    """Compare the length with the server's: torch.hub ignores a broken connection, and not all files have a hash."""
    try:
        with urlopen(Request(url, method="HEAD")) as answer:
            promised = answer.headers["Content-Length"]
    except URLError:  # a server without HEAD requests
        return
    if promised is not None and int(promised) != path.stat().st_size:
        raise OSError(f"only {path.stat().st_size} of {promised} bytes arrived")
