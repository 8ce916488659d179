"""Detectors with the weights of seed 0, which are drawn once for the same settings."""

import copy
import json
from collections import OrderedDict

import torch

LIMIT = 4
"""Detectors that are kept, those used last."""
LARGEST = 20_000_000
"""Weights of the largest that is kept: a ResNet-18 has 12 million, VGG-16, which few tests have, 138 million."""

_kept = OrderedDict()


def seeded(kind, *arguments, **settings):
    """Build a detector after `torch.manual_seed(0)`; weights and the random state afterwards are the same each time.

    To draw the weights and to check the maps of the backbone takes ten times as long as to copy the detector, so that
    the next one with the same settings is a copy.
    """
    torch.manual_seed(0)
    key = _key(kind, arguments, settings)
    if key is None:
        return kind(*arguments, **settings)
    if key not in _kept:
        detector = kind(*arguments, **settings)
        if sum(weight.numel() for weight in detector.parameters()) > LARGEST:
            return detector
        _kept[key] = detector, torch.get_rng_state()
    _kept.move_to_end(key)
    while len(_kept) > LIMIT:
        _kept.popitem(last=False)
    detector, random_state = _kept[key]
    torch.set_rng_state(random_state)
    return copy.deepcopy(detector)


def _key(kind, arguments, settings):
    """What the detector depends on; None if that is more than plain data."""
    if type(torch.empty(0)) is not torch.Tensor or torch.empty(0).device.type != "cpu":
        return None  # tensors without values
    try:
        text = json.dumps((arguments, settings))
    except TypeError:
        return None  # a part that the detector has to own, and no copy of it
    return None if '"weights": "' in text else (kind, text)  # a file may change
