"""ImageNet weights of backbones: by torchvision's names, or from a file or URL."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn
from torchvision.models import get_model_weights, list_models

from lightning_rcnn.backbones.stem import with_adapted_stem
from lightning_rcnn.checkpoints.imagenet import body_weights
from lightning_rcnn.checkpoints.reading import read_weights
from lightning_rcnn.checkpoints.sources import local_file
from lightning_rcnn.errors import InputError


def load_backbone_weights(body: nn.Module, architecture: str, source: str) -> None:
    """Load weights of a classification network into `body`; layers that `body` lacks are skipped.

    The first convolution is adapted to other input channels than three; see `stem.py`.

    Args:
        body: torchvision network, perhaps without its last layers.
        architecture: torchvision's name of the network, for example "resnet50".
        source: torchvision's name of weights ("DEFAULT", "IMAGENET1K_V1", ...), or a file or URL of a state dict with
            torchvision's, detectron2's or Caffe2's names.

    Raises:
        InputError: the source is unknown or cannot be read, or its weights are of another architecture.
    """
    fill_from(body, architecture, source, _read(architecture, source))


def fill_from(body: nn.Module, architecture: str, source: str, weights: Mapping[str, Tensor]) -> None:
    """Load weights that have the names of `body`; further ones are skipped.

    Args:
        body: network, perhaps without its last layers.
        architecture: name of the network, for messages.
        source: where the weights come from, for messages.
        weights: the weights by name.

    Raises:
        InputError: some are missing, or have another shape.
    """
    own = body.state_dict()
    weights = with_adapted_stem(weights, own)
    missing = [key for key in own if key not in weights and not key.endswith("num_batches_tracked")]
    wrong = [key for key in own if key in weights and weights[key].shape != own[key].shape]
    if missing or wrong:
        key = (missing + wrong)[0]
        raise InputError(
            f"backbone weights {source}: not weights of {architecture}: {len(missing)} keys are missing and "
            f"{len(wrong)} have another shape, the first is {key!r}"
        )
    body.load_state_dict({key: weights[key] for key in own if key in weights}, strict=False)


def _read(architecture: str, source: str) -> Mapping[str, Tensor]:
    if not Path(source).is_file() and "://" not in source:
        known = _addresses(architecture)
        if source not in known:
            raise InputError(
                f"backbone weights {source!r}: no such file, and {architecture} has only: {', '.join(known) or 'none'}"
            )
        source = known[source]
    return body_weights(read_weights(local_file(source, "backbone weights")).weights).weights


def _addresses(architecture: str) -> dict[str, str]:
    """Return torchvision's weights of a network, name -> address; nothing if it does not have the network."""
    if architecture not in list_models():
        return {}
    weights = get_model_weights(architecture)
    return {"DEFAULT": weights.DEFAULT.url} | {member.name: member.url for member in weights}
