"""Find the shards of data sources: folders, tar files, globs, brace ranges, URLs and commands.

| source | means |
|---|---|
| `data/coco/train` | a packed folder: all shards in its `index.json` |
| `data/coco/train/shard-000003.tar` | that shard of the index beside it |
| `data/coco/train/*7.tar`, `data/*/train` | what the pattern matches |
| `data/coco/train/shard-{000000..000012}.tar` | the shards of a range |
| `https://host/coco/train` | the same over HTTP, except patterns |
| `s3://bucket/coco/train`, `gs://`, `az://`, `hf://` and whatever else fsspec reads | the same, with patterns |
| `pipe:aws s3 cp s3://bucket/coco/train/index.json -` | the output of a command: all shards in the index |
| `pipe:aws s3 cp s3://bucket/coco/train/shard-{000000..000012}.tar -` | the shards of a range |

A command runs once per file; the name of the file (`index.json` or a shard) replaces the file name in the command.
Several sources form one data set if they have the same categories.
"""

import glob
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path

from braceexpand import braceexpand

from lightning_rcnn.data.annotation_files import as_file
from lightning_rcnn.data.fetch import FetchPolicy, fetch_bytes, find_matches
from lightning_rcnn.data.index import INDEX_NAME, Shard, ShardIndex, pixel_difference
from lightning_rcnn.data.pixel_format import united
from lightning_rcnn.data.stores.addresses import PIPE, file_name, inside, is_cloud, is_remote, names_file, sibling
from lightning_rcnn.errors import InputError
from lightning_rcnn.plural import plural
from lightning_rcnn.skeleton import difference


@dataclass(frozen=True)
class ShardSet:
    """Shards and their addresses.

    Attributes:
        index: index of the shards, merged from all sources.
        addresses: address of each shard in the index: a local path, a URL, or `pipe:` and a command.
        lacking_masks: names of the sources with boxes only.
        lacking_proposals: names of the sources without stored proposals.
        exhaustive: names of the sources that are not federated (`ShardIndex.is_federated`).
        lacking_keypoints: names of the sources without keypoints.
        shard_sources: position of each shard's source in the list of sources; of two that name it, the first.
    """

    index: ShardIndex
    addresses: tuple[str, ...]
    lacking_masks: tuple[str, ...]
    lacking_proposals: tuple[str, ...]
    exhaustive: tuple[str, ...]
    lacking_keypoints: tuple[str, ...]
    shard_sources: tuple[int, ...]

    @property
    def annotation_addresses(self) -> list[str | None]:
        """Address of the annotations beside each shard; None for a shard with them inside."""
        pairs = zip(self.index.shards, self.addresses, strict=True)
        return [
            None if shard.annotations is None else sibling(address, shard.annotations.name) for shard, address in pairs
        ]


def read_index(sources: str | Sequence[str], policy: FetchPolicy | None = None) -> ShardIndex:
    """Read the index of a data set without opening a shard.

    Args:
        sources: one or several sources, see the table above.
        policy: timeout and attempts for remote sources.

    Raises:
        InputError: see `read_shards`.
    """
    return read_shards(sources, policy).index


def read_shards(sources: str | Sequence[str], policy: FetchPolicy | None = None) -> ShardSet:
    """Find the shards of a data set.

    Args:
        sources: one or several sources, see the table above.
        policy: timeout and attempts for remote sources.

    Raises:
        InputError: a source or its index is missing, a local shard is missing or too short, or the sources do not fit
            together: other categories, or the same image ids.
    """
    shard_set = read_training_shards(sources, policy)
    owner: dict[int, str] = {}
    for shard, address in zip(shard_set.index.shards, shard_set.addresses, strict=True):
        for image_id in shard.image_ids:
            if owner.setdefault(image_id, address) != address:
                raise InputError(
                    f"image id {image_id} occurs in {owner[image_id]} and in {address}; pack the sets together"
                )
    return shard_set


def read_training_shards(sources: str | Sequence[str], policy: FetchPolicy | None = None) -> ShardSet:
    """Find the shards of a data set like `read_shards`; images of several sources may have the same id.

    Sets that were packed apart usually number their images alike. Only results are told apart by these ids.

    Raises:
        InputError: see `read_shards`; or the same shard comes from two addresses.
    """
    policy = policy or FetchPolicy()
    wanted: dict[str, dict[str, int]] = {}
    for position, source in enumerate([sources] if isinstance(sources, str) else sources):
        for address in _expand(source, policy):
            wanted.setdefault(sibling(address, INDEX_NAME), {}).setdefault(file_name(address), position)
    if not wanted:
        raise InputError("the list of data sources is empty; give a packed folder, shards or URLs")
    read = {address: ShardIndex.from_json(_read_text(address, policy), address) for address in wanted}
    indices = told_apart({address.removesuffix(f"/{INDEX_NAME}"): index for address, index in read.items()})
    return _merge([_select(index, *chosen) for index, chosen in zip(indices, wanted.items(), strict=True)])


def told_apart(indices: Mapping[str, ShardIndex]) -> list[ShardIndex]:
    """Return indices, with the place behind names that several have, as sets that are packed from files of one name.

    Args:
        indices: place, such as a folder or an option -> index.
    """
    names = Counter(index.name for index in indices.values())
    return [
        index if names[index.name] == 1 else replace(index, name=f"{index.name} ({place})")
        for place, index in indices.items()
    ]


def _expand(source: str, policy: FetchPolicy) -> list[str]:
    """Expand braces and patterns into addresses, each of a shard or an index."""
    if not is_remote(source) and Path(source).expanduser().exists():
        return [_file_of(source)]
    try:
        addresses = list(braceexpand(source))
    except ValueError as error:
        raise InputError(f"{source}: unbalanced braces; write a range as {{000000..000012}}") from error
    return [_file_of(match) for address in addresses for match in _match(address, policy)]


def _match(address: str, policy: FetchPolicy) -> list[str]:
    """Return what an address with a pattern matches; without one, the address itself."""
    path = address if is_remote(address) else str(Path(address).expanduser())
    if not glob.has_magic(path) or (is_remote(path) and not is_cloud(path)):
        return [path]
    matches = find_matches(path, policy) if is_cloud(path) else sorted(glob.glob(path))
    if not matches:
        raise InputError(f"{address}: no file or folder matches; correct the pattern")
    return matches


def _file_of(address: str) -> str:
    """Return the address of a shard unchanged, and for a folder the address of its index."""
    if is_remote(address):
        if names_file(address):
            return address
        if address.startswith(PIPE):
            raise InputError(f"{address}: the command names no file; name a .tar file or {INDEX_NAME} in it")
        return inside(address, INDEX_NAME)
    path = Path(address).expanduser()
    if path.is_dir():
        return str(path / INDEX_NAME)
    if not path.exists() and not path.suffix and (path.parent / INDEX_NAME).is_file():
        raise InputError(
            f"{address}: no such folder; {path.parent} is one packed set: give it, or pack again with --split 0.8,0.2"
        )
    if not path.exists():
        raise InputError(f"{address}: no such file or folder; give a packed folder, shards or URLs")
    return str(path)


def _select(index: ShardIndex, index_address: str, named: Mapping[str, int]) -> ShardSet:
    """Return the named shards of one index, each with its source; all shards if the index itself is named."""
    if INDEX_NAME not in named:
        unknown = named.keys() - {shard.name for shard in index.shards}
        if unknown:
            raise InputError(f"{sibling(index_address, min(unknown))}: not in {index_address}; pack the data set again")
        index = replace(index, shards=[shard for shard in index.shards if shard.name in named])
    last = max(named.values())
    shard_sources = [min(named.get(shard.name, last), named.get(INDEX_NAME, last)) for shard in index.shards]
    addresses = tuple(sibling(index_address, shard.name) for shard in index.shards)
    if not is_remote(index_address):
        for address, shard in zip(addresses, index.shards, strict=True):
            _check_local(Path(address), shard)
            if shard.annotations is not None:
                _check_local(Path(sibling(address, shard.annotations.name)), as_file(shard))
    return ShardSet(
        index,
        addresses,
        lacking_masks=() if index.has_masks else (index.name,),
        lacking_proposals=() if index.proposals is not None else (index.name,),
        exhaustive=() if index.is_federated else (index.name,),
        lacking_keypoints=() if index.skeleton is not None else (index.name,),
        shard_sources=tuple(shard_sources),
    )


def _read_text(index_address: str, policy: FetchPolicy) -> str:
    if is_remote(index_address):
        return fetch_bytes(index_address, policy).decode()
    try:
        return Path(index_address).read_text()
    except FileNotFoundError as error:
        folder = Path(index_address).parent
        raise InputError(f"{folder}: has no {INDEX_NAME}; {_way_to_shards(folder)}") from error
    except OSError as error:
        raise InputError(f"{index_address}: cannot be read ({error.strerror}); check its permissions") from error


def _way_to_shards(folder: Path) -> str:
    """Name the packed sets in a folder, such as the splits of one packing, or the command that packs it."""
    packed = sorted(str(index.parent) for index in folder.glob(f"*/{INDEX_NAME}"))
    if not packed:
        return f"make shards with `lightning-rcnn pack auto {folder}`"
    return f"give a packed set in it, such as {', '.join(packed[:3])}"


def _check_local(path: Path, shard: Shard) -> None:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise InputError(
            f"{path}: in the index, but missing ({error.strerror}); restore it or pack the data set again"
        ) from error
    if size < shard.offsets[-1]:
        raise InputError(
            f"{path}: has {size} bytes, but its samples end at {shard.offsets[-1]}, so it was cut off or changed since "
            "it was packed; restore it or pack the data set again"
        )


def _merge(shard_sets: Sequence[ShardSet]) -> ShardSet:
    first, *others = (shard_set.index for shard_set in shard_sets)
    for other in others:
        if other.categories != first.categories:
            raise InputError(
                f"{other.name} and {first.name} cannot be one data set: {category_difference(first, other)}"
            )
        if differs := skeleton_difference(first, other):
            raise InputError(f"{other.name} and {first.name} cannot be one data set: {differs}")
        if differs := pixel_difference(first, other):
            raise InputError(f"{other.name} and {first.name} cannot be one data set: {differs}")
    if not others:
        return shard_sets[0]
    owner: dict[str, str] = {}
    for shard_set in shard_sets:
        for shard, address in zip(shard_set.index.shards, shard_set.addresses, strict=True):
            if owner.setdefault(shard.sha256, address) != address:
                raise InputError(f"{owner[shard.sha256]} and {address} are copies of one shard; leave one out")
    reports = [shard_set.index.report for shard_set in shard_sets]
    index = ShardIndex(
        name=" + ".join(shard_set.index.name for shard_set in shard_sets),
        categories=first.categories,
        has_masks=all(shard_set.index.has_masks for shard_set in shard_sets),
        shards=[shard for shard_set in shard_sets for shard in shard_set.index.shards],
        report={defect: sum(report.get(defect, 0) for report in reports) for report in reports for defect in report},
        proposals=first.proposals if all(other.proposals == first.proposals for other in others) else None,
        is_federated=any(shard_set.index.is_federated for shard_set in shard_sets),
        skeleton=first.skeleton if all(other.skeleton is not None for other in others) else None,
        pixels=reduce(united, (index.pixels for index in (first, *others))),
    )
    return ShardSet(
        index,
        addresses=tuple(address for shard_set in shard_sets for address in shard_set.addresses),
        lacking_masks=tuple(name for shard_set in shard_sets for name in shard_set.lacking_masks),
        lacking_proposals=tuple(name for shard_set in shard_sets for name in shard_set.lacking_proposals),
        exhaustive=tuple(name for shard_set in shard_sets for name in shard_set.exhaustive),
        lacking_keypoints=tuple(name for shard_set in shard_sets for name in shard_set.lacking_keypoints),
        shard_sources=tuple(source for shard_set in shard_sets for source in shard_set.shard_sources),
    )


def skeleton_difference(first: ShardIndex, second: ShardIndex) -> str:
    """Describe the difference between the skeletons of two data sets; empty if they are equal, or one has none."""
    if first.skeleton is None or second.skeleton is None:
        return ""
    differs = difference(first.skeleton, second.skeleton)
    return f"their keypoints differ ({differs}); use sets of one skeleton" if differs else ""


_SAME_CLASSES = "give both the same classes in one order, packed sets by the same --classes of `pack`"
"""Way out, also for torch data sets."""


def category_difference(first: ShardIndex, second: ShardIndex) -> str:
    """Describe the first difference between the categories of two data sets; empty if they are equal."""
    for ours, theirs in zip(first.categories, second.categories, strict=False):
        if ours != theirs:
            return (
                f"label {ours.label} is {ours.name!r} (id {ours.id}) in {first.name} "
                f"but {theirs.name!r} (id {theirs.id}) in {second.name}; {_SAME_CLASSES}"
            )
    if len(first.categories) != len(second.categories):
        return (
            f"{first.name} has {plural(len(first.categories), 'class')}, {second.name} has "
            f"{plural(len(second.categories), 'class')}; {_SAME_CLASSES}"
        )
    return ""
