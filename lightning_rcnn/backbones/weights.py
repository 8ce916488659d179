"""ImageNet weights for a backbone: by torchvision's names, from a local file, or none."""

from collections.abc import Mapping
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlparse

import torch
from torch import Tensor, nn
from torchvision.models import get_model_weights

from lightning_rcnn.errors import InputError


def load_backbone_weights(body: nn.Module, architecture: str, source: str) -> None:
    """Load classification weights into `body`; classifier layers that `body` lacks are left out.

    Args:
        body: a torchvision network, perhaps without its last layers.
        architecture: its torchvision name, for example "resnet50".
        source: a name of torchvision's weights ("DEFAULT", "IMAGENET1K_V1", ...) or a file with a state dict.

    Raises:
        InputError: no such name or file, no network, or weights of another architecture.
    """
    weights = _from_file(Path(source)) if Path(source).is_file() else _from_torchvision(architecture, source)
    wanted = body.state_dict()
    missing = [key for key in wanted if key not in weights and not key.endswith("num_batches_tracked")]
    wrong = [key for key in wanted if key in weights and weights[key].shape != wanted[key].shape]
    if missing or wrong:
        key = (missing + wrong)[0]
        raise InputError(
            f"backbone_weights {source}: not weights of {architecture}: {len(missing)} keys are missing and "
            f"{len(wrong)} have another shape, the first is {key!r}"
        )
    body.load_state_dict({key: weights[key] for key in wanted if key in weights}, strict=False)


def _from_file(path: Path) -> Mapping[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a file that is not one of its own
        raise InputError(
            f"backbone_weights {path}: not a readable torch file ({str(error).splitlines()[0]})"
        ) from error
    content = content.get("state_dict", content) if isinstance(content, Mapping) else content
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise InputError(f"backbone_weights {path}: holds no state dict (a mapping of names to tensors)")
    return content


def _from_torchvision(architecture: str, name: str) -> Mapping[str, Tensor]:
    known = get_model_weights(architecture)
    try:
        weights = known[name]
    except KeyError:
        names = ", ".join(["DEFAULT", *(member.name for member in known)])
        raise InputError(f"backbone_weights {name!r}: no such file, and {architecture} has only: {names}") from None
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(weights.url).path).name
    try:
        return weights.get_state_dict(progress=True, check_hash=True)
    except (URLError, OSError, RuntimeError) as error:
        raise InputError(
            f"backbone_weights {name}: cannot download {weights.url} ({error}); put the file at {file}, "
            "or give a file instead of a name"
        ) from error
