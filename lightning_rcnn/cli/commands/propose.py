"""`lightning-rcnn propose`: proposals in advance, beside the images."""

from pathlib import Path

from rich.console import Console

from lightning_rcnn.checkpoints.sources import checkpoint_file
from lightning_rcnn.data.cache import ShardCache
from lightning_rcnn.data.fetch import FetchPolicy
from lightning_rcnn.data.pack.given_proposals import GivenProposals
from lightning_rcnn.data.pack.proposal_shards import FromPicture, FromPixels, write_proposals
from lightning_rcnn.data.reader import ShardReader, UnreadableRecordError
from lightning_rcnn.data.shards import read_shards
from lightning_rcnn.data.workers import available_cores
from lightning_rcnn.detectors.proposing import RegionProposals
from lightning_rcnn.errors import InputError
from lightning_rcnn.evaluation.stored_proposals import ProposalReport
from lightning_rcnn.progress import track
from lightning_rcnn.proposals.selective_search import SelectiveSearch, SelectiveSearchMode


def propose(
    shards: str,
    out: Path,
    mode: SelectiveSearchMode = "fast",
    width: int = 500,
    limit: int = 2000,
    workers: int | None = None,
    checkpoint: str | None = None,
    boxes: Path | None = None,
) -> None:
    """Make proposals for the images of a packed data set, and write shards that hold them beside the images.

    Proposals are of selective search, with --checkpoint of a trained region proposal network, with --boxes of a file.
    Their recall is shown at the end. After an interruption the same command continues where it stopped; if all is done,
    it shows the recall.

    Args:
        shards: packed data set: a folder, shards or a URL.
        out: folder for the new shards.
        mode: preset of selective search; quality finds more objects and takes about three times as long.
        width: width in pixels to which images are scaled for selective search.
        limit: number of proposals per image, best first.
        workers: processes for selective search; by default one per core.
        checkpoint: a trained Faster or Mask R-CNN, whose region proposal network then proposes, on a GPU if there is
            one; mode, width and workers have no effect on it.
        boxes: a JSON list of image_id, bbox (x, y, width, height) and score, as in COCO's results files, whose boxes
            become the proposals; mode, width and workers have no effect on them.
    """
    for flag, number in (("width", width), ("limit", limit), ("workers", workers)):
        if number is not None and number < 1:
            raise InputError(f"--{flag} {number}: at least 1")
    if checkpoint is not None and boxes is not None:
        raise InputError("--checkpoint and --boxes: proposals come from one of them")
    shard_set = read_shards(shards)
    cache = ShardCache(None, 100e9, FetchPolicy())
    console, pixels = Console(), shard_set.index.pixels
    if boxes is not None:
        given = GivenProposals(boxes, shard_set.index, limit)
        write_proposals(shard_set, cache, out, given, given.method, workers=1, console=console)
    elif checkpoint is not None:
        network = RegionProposals(checkpoint_file(checkpoint), limit)
        if network.pixels.layout != pixels.layout:
            raise InputError(
                f"{checkpoint}: takes {network.pixels.layout}, but {shard_set.index.name} has {pixels.layout}; give a "
                "model that was trained on such images"
            )
        write_proposals(
            shard_set, cache, out, FromPixels(network, network.pixels), network.method, workers=1, console=console
        )
    else:
        workers = workers or min(available_cores(), len(shard_set.index))
        search = SelectiveSearch(mode, width, limit)
        write_proposals(
            shard_set,
            cache,
            out,
            FromPixels(FromPicture(search, pixels), pixels),
            search.method,
            workers=workers,
            console=console,
        )
    written = read_shards(str(out))
    reader = ShardReader(written, cache)
    report = ProposalReport(written.index.categories)
    for number in track(range(len(reader)), "Measuring recall", console):
        try:
            report.add(reader.read(number))
        except UnreadableRecordError as error:
            report.add_unreadable(str(error))
    console.print(report.as_table())
    print(f"{written.index.name} with proposals is in {out}.")
