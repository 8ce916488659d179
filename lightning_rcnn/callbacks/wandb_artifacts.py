"""Artifacts of a W&B run: the data that it reads, its checkpoints and its report.

Data are artifacts by reference: W&B gets addresses and hashes, never a shard.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import wandb
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from wandb.sdk.artifacts.artifact_manifest_entry import ArtifactManifestEntry
from wandb.sdk.lib.paths import LogicalPath

from lightning_rcnn.callbacks.run_facts import set_facts
from lightning_rcnn.checkpoints.header import header_in, is_ours
from lightning_rcnn.checkpoints.reading import read_content
from lightning_rcnn.checkpoints.split import files_of
from lightning_rcnn.data.shards import ShardSet
from lightning_rcnn.data.stores.addresses import is_remote, without_secrets
from lightning_rcnn.data.torch_dataset import TorchDataset
from lightning_rcnn.evaluation.report_page.page import NUMBERS, PAGE

DATASET, MODEL, REPORT = "dataset", "model", "report"
"""Types of artifacts, as W&B groups them."""
FINGERPRINT = "fingerprint"
"""Entry of a data set's artifact that says which data it is, and key of its metadata."""
_NAME_LENGTH = 100
_ALIAS_LENGTH = 12


def dataset_artifact(data: ShardSet) -> wandb.Artifact:
    """Return an artifact that refers to the shards of a data set.

    Its version depends on the fingerprint and the shards' names and hashes alone: a copy elsewhere is the same version.
    A torch data set has no shards; its artifact has the fingerprint alone.
    """
    index = data.index
    facts = set_facts(index)
    metadata = {**facts, "classes": [category.name for category in index.categories]}
    artifact = wandb.Artifact(_artifact_name(index.name), type=DATASET, metadata=metadata)
    entries = [_entry(FINGERPRINT, f"sha256:{index.fingerprint}", index.fingerprint)]
    if not isinstance(data, TorchDataset):
        names = _different([shard.name for shard in index.shards])
        entries += [
            _entry(name, _uri(address), shard.sha256, shard.offsets[-1])
            for name, shard, address in zip(names, index.shards, data.addresses, strict=True)
        ]
    for entry in entries:
        # `Artifact.add_reference` would read each shard for a hash, or take its address for one.
        artifact.manifest.add_entry(entry)
    return artifact


def checkpoint_artifact(name: str, path: Path, facts: Mapping[str, Any]) -> wandb.Artifact:
    """Return an artifact with a checkpoint file, `model.ckpt`, and what is known about it.

    Args:
        name: name of the artifact.
        path: checkpoint file; W&B takes a copy.
        facts: facts that are not in the file.
    """
    metadata = {"original_filename": path.name, **facts}
    content = read_content(path)
    if is_ours(content):
        header = header_in(content)
        metadata |= {"detector": header.class_path, "class_names": header.hyperparameters.get("class_names")}
        if header.thresholds:
            metadata |= {"score_threshold": header.thresholds["score"], "f1": header.thresholds["f1"]}
    artifact = wandb.Artifact(name, type=MODEL, metadata=metadata)
    artifact.add_file(str(path), name="model.ckpt")
    for file in files_of(path, content)[1:]:
        artifact.add_file(str(file), name=f"{file.parent.name}/{file.name}")
    return artifact


def report_artifact(name: str, folder: Path, facts: Mapping[str, Any]) -> wandb.Artifact:
    """Return an artifact with the page and the figures of an error analysis."""
    artifact = wandb.Artifact(name, type=REPORT, metadata=dict(facts))
    for file_name in (PAGE, NUMBERS):
        artifact.add_file(str(folder / file_name))
    return artifact


def use_dataset(run: Any, artifact: wandb.Artifact) -> None:
    """Make a data set an input of a run; its alias is the beginning of the fingerprint."""
    # `Run.use_artifact` refuses to work offline, and online waits for the server; this is the record that it sends.
    run._log_artifact(
        artifact,
        aliases=["latest", artifact.metadata[FINGERPRINT][:_ALIAS_LENGTH]],
        is_user_created=True,
        use_after_commit=True,
    )


@contextmanager
def warned(what: str) -> Iterator[None]:
    """Make and log an artifact inside this: no error of W&B may end a training, it becomes a warning."""
    try:
        yield
    except Exception as error:
        rank_zero_warn(f"W&B does not take {what} ({type(error).__name__}: {' '.join(str(error).split())})")


def _entry(name: str, address: str, digest: str, size: int | None = None) -> ArtifactManifestEntry:
    return ArtifactManifestEntry(path=LogicalPath(name), ref=address, digest=digest, size=size)


def _artifact_name(name: str) -> str:
    """Return a name with the characters and the length that W&B allows; two long names stay different."""
    allowed = re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII).strip("-") or DATASET
    if len(allowed) <= _NAME_LENGTH:
        return allowed
    return f"{allowed[:_NAME_LENGTH]}-{sha256(name.encode()).hexdigest()[:8]}"


def _different(names: Sequence[str]) -> list[str]:
    """Return the names of shards, with their numbers if two sources name theirs alike."""
    if len(set(names)) == len(names):
        return list(names)
    return [f"{number:06d}-{name}" for number, name in enumerate(names)]


def _uri(address: str) -> str:
    return without_secrets(address) if is_remote(address) else Path(address).resolve().as_uri()
