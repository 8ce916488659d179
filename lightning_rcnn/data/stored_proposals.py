"""Store proposals beside an image, and map them into the resized frame.

The tar member `KEY.proposals.npy` is an array float32 [P, 5]: x1, y1, x2, y2 in pixels of the original frame, and a
score; best first. P may be 0.
"""

import io
from collections.abc import Sequence

import numpy as np

from lightning_rcnn.data.geometry import AxisAlignedMap, clip_and_keep

MEMBER = "proposals.npy"


def encode_proposals(proposals: np.ndarray) -> bytes:
    """Return the bytes of the tar member; `decode_proposals` is the inverse."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.ascontiguousarray(proposals, dtype=np.float32), (1, 0), allow_pickle=False)
    return stream.getvalue()


def decode_proposals(data: bytes) -> np.ndarray:
    """Read the bytes of the tar member.

    Raises:
        ValueError: not an array as described above, or with values that are not finite.
    """
    advice = "run `lightning-rcnn propose` again"
    try:
        proposals = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except Exception as error:  # the parser raises anything on damaged bytes
        raise ValueError(f"the proposals are not an .npy array ({error}); {advice}") from error
    if proposals.dtype != np.float32 or proposals.ndim != 2 or proposals.shape[1] != 5:
        raise ValueError(f"the proposals are {proposals.dtype} {list(proposals.shape)}, not float32 [P, 5]; {advice}")
    if not np.isfinite(proposals).all():
        raise ValueError(f"the proposals have values that are not finite; {advice}")
    return proposals


def map_proposals(proposals: np.ndarray, to_resized: AxisAlignedMap, size: Sequence[int], limit: int) -> np.ndarray:
    """Map proposals into the resized frame, clip them, and drop those with nothing left.

    Args:
        proposals: float32 [P, 5], original frame.
        to_resized: map into the resized frame.
        size: (height, width) of the resized image in pixels.
        limit: maximum number of proposals; the best are kept.

    Returns:
        float32 [p, 5] with p <= `limit`.
    """
    boxes, keep = clip_and_keep(to_resized.boxes(proposals[:, :4]), *size)
    return np.concatenate([boxes, proposals[:, 4:]], axis=1)[keep][:limit]
