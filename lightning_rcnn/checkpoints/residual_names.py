"""Names of ResNet weights: from Caffe2's and detectron2's to torchvision's.

`conv1`, `bn1` and `layer1` to `layer4` are `stem.conv1` and `res2` to `res5` in detectron2, whose norms belong to their
convolutions. In Caffe2, the files of He et al. ("MSRA") among them, the three convolutions of a block are branches 2a,
2b and 2c, the shortcut is branch 1, and a norm has a scale `s` and a shift `b`.
"""

import re

_DETECTRON2 = re.compile(r"res([2-5])\.(\d+)\.(?:conv([123])|shortcut)\.(norm\.)?(\w+)")
_DETECTRON2_OFFSET = re.compile(r"res([2-5])\.(\d+)\.conv2_offset\.(\w+)")
"""Offsets of a deformable convolution, which are inside of it with us."""
_OFFSET = re.compile(r"layer([1-4])\.(\d+)\.conv2\.offset\.(\w+)")
_STEM = re.compile(r"(conv1|bn1)\.(\w+)")
_BLOCK = re.compile(r"layer([1-4])\.(\d+)\.(conv|bn|downsample\.)(\d)\.(\w+)")
_CAFFE2 = re.compile(r"res([2-5])_(\d+)_branch(1|2[abc])_(bn_)?(\w+)")
_CAFFE2_STEM = re.compile(r"(?:res_)?conv1_(bn_)?(\w+)")
_CAFFE2_ITEMS = {
    "w": "weight",
    "s": "weight",
    "gamma": "weight",
    "b": "bias",
    "beta": "bias",
    "rm": "running_mean",
    "running_mean": "running_mean",
    "riv": "running_var",
    "running_var": "running_var",
}
_CLASSIFIERS = ("fc.", "stem.fc.", "linear.", "fc1000", "pred_", "last_out_")
_CAFFE2_CONVOLUTION_BIAS = re.compile(r"(conv1|res[2-5]_\d+_branch(1|2[abc]))_b")


def from_detectron2(name: str) -> str | None:
    """Return torchvision's name for one of detectron2's, from `stem` or `res2` on; None if there is none."""
    if name.startswith("stem.conv1."):
        item = name.removeprefix("stem.conv1.")
        return f"bn1.{item.removeprefix('norm.')}" if item.startswith("norm.") else f"conv1.{item}"
    if match := _DETECTRON2_OFFSET.fullmatch(name):
        return f"layer{int(match[1]) - 1}.{match[2]}.conv2.offset.{match[3]}"
    match = _DETECTRON2.fullmatch(name)
    return match and _in_block(int(match[1]), match[2], match[3], bool(match[4]), match[5])


def to_detectron2(name: str) -> str | None:
    """Return detectron2's name for one of torchvision's, from `stem` or `res2` on; None if there is none."""
    if match := _STEM.fullmatch(name):
        return f"stem.conv1.{'norm.' if match[1] == 'bn1' else ''}{match[2]}"
    if match := _OFFSET.fullmatch(name):
        return f"res{int(match[1]) + 1}.{match[2]}.conv2_offset.{match[3]}"
    match = _BLOCK.fullmatch(name)
    if match is None:
        return None
    stage, block, kind, number, item = match.groups()
    is_norm = kind == "bn" or (kind == "downsample." and number == "1")
    convolution = "shortcut" if kind == "downsample." else f"conv{number}"
    return f"res{int(stage) + 1}.{block}.{convolution}.{'norm.' if is_norm else ''}{item}"


def from_caffe2(name: str) -> str | None:
    """Return torchvision's name for one of Caffe2's; None if there is none."""
    if match := _CAFFE2_STEM.fullmatch(name):
        item = _CAFFE2_ITEMS.get(match[2])
        return item and f"{'bn1' if match[1] else 'conv1'}.{item}"
    match = _CAFFE2.fullmatch(name)
    item = match and _CAFFE2_ITEMS.get(match[5])
    if not match or not item:
        return None
    number = None if match[3] == "1" else str("abc".index(match[3][1]) + 1)
    return _in_block(int(match[1]), match[2], number, bool(match[4]), item)


def unused(name: str) -> str | None:
    """Return why a backbone does not use an ImageNet weight, in any of the three namings; None if it uses it."""
    if name.startswith(_CLASSIFIERS):
        return "classifier"
    if name.endswith("_momentum"):
        return "state of a training"
    if _CAFFE2_CONVOLUTION_BIAS.fullmatch(name):
        return "bias before a norm, which detectron2 leaves out too"
    return None


def _in_block(stage: int, block: str, convolution: str | None, is_norm: bool, item: str) -> str:
    if convolution is None:
        return f"layer{stage - 1}.{block}.downsample.{int(is_norm)}.{item}"
    return f"layer{stage - 1}.{block}.{'bn' if is_norm else 'conv'}{convolution}.{item}"
