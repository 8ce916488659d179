"""Say what is wrong with a path that should be a checkpoint and is no file."""

from pathlib import Path

from lightning_rcnn.suggestions import did_you_mean

_SUFFIXES = (".ckpt", ".pth", ".pkl", ".safetensors")


def describe_missing(path: Path) -> str:
    """Return what a path is instead of a file, and a checkpoint to take: in the folder, or of a similar name."""
    if path.is_dir():
        found = [file for folder in (path / "checkpoints", path) for file in _checkpoints(folder)]  # best before last
        return f"a folder; give a checkpoint in it, such as {found[0]}" if found else "a folder without checkpoints"
    near = did_you_mean(path.name, [file.name for file in _checkpoints(path.parent)])
    return f"no such checkpoint{near}"


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob("*") if file.suffix in _SUFFIXES and file.is_file())
