"""`lightning-rcnn compare`: the papers side by side."""

from collections.abc import Sequence
from pathlib import Path

from lightning.pytorch import seed_everything
from rich.console import Console

from lightning_rcnn.bench.compare.chart import draw
from lightning_rcnn.bench.compare.comparison import Point, Row, curve_of, row_of, table_of, write_json
from lightning_rcnn.bench.compare.data_sets import images, prepare, with_proposals
from lightning_rcnn.bench.compare.recipes import FOUR_PAPERS, WITH_PROPOSALS, Conditions, DetectorKey, recipes
from lightning_rcnn.bench.compare.training import Trained, train_recipe
from lightning_rcnn.cli.option_checks import require_positive
from lightning_rcnn.detectors.rcnn.rcnn import RCNN
from lightning_rcnn.errors import InputError
from lightning_rcnn.lightning_messages import hush_lightning
from lightning_rcnn.proposals.selective_search import SelectiveSearch, SelectiveSearchMode


def compare(
    out: Path,
    train: str | None = None,
    val: str | None = None,
    detectors: Sequence[DetectorKey] = FOUR_PAPERS,
    minutes: float = 10.0,
    mode: SelectiveSearchMode = "fast",
    width: int = 500,
    proposal_limit: int = 2000,
    timed_images: int = 5,
    batch_size: int = 4,
    num_workers: int | None = None,
    seed: int = 0,
) -> None:
    """Train detectors from scratch on one data set, and compare them: R-CNN, Fast, Faster and Mask R-CNN, or any.

    All have the same network and the same training time. Without data, scenes are generated. R-CNN and Fast R-CNN need
    proposals: shards without any get those of selective search first, which is not part of the training time. On a data
    set without masks, Mask R-CNN is replaced by Faster R-CNN with RoIAlign.

    Args:
        out: folder for comparison.json, comparison.png, checkpoints, and generated data; new or empty.
        train: a packed data set, with or without proposals.
        val: another one, to score on.
        detectors: the detectors, in the order of training and of the table.
        minutes: training time of each detector.
        mode: mode of selective search; it is also timed if the data have proposals.
        width: width that selective search scales images to, pixels.
        proposal_limit: proposals of an image that R-CNN and Fast R-CNN use.
        timed_images: number of images of val that are timed one by one; medians are shown.
        batch_size: images in a step.
        num_workers: processes that load; by default one less than there are cores.
        seed: seed of data, weights and training.

    Raises:
        InputError: an option is impossible, the data do not fit or lack what a detector needs, or `out` holds files.
    """
    require_positive(
        minutes=minutes, proposal_limit=proposal_limit, timed_images=timed_images, batch_size=batch_size, width=width
    )
    if not detectors or len(set(detectors)) < len(detectors):
        raise InputError(f"--detectors {' '.join(detectors)}: give one or more, each once")
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise InputError(f"{out}: is not an empty folder; choose another one")
    hush_lightning()
    seed_everything(seed, verbose=False)
    console = Console()
    search = SelectiveSearch(mode, width, proposal_limit)
    data = prepare(train, val, out, console)
    conditions = Conditions(data.has_masks, data.skeleton, data.min_size, mode, width, proposal_limit)
    chosen = recipes(detectors, conditions)  # before anything is written beside data that are given
    if WITH_PROPOSALS & set(detectors):
        data = with_proposals(data, out, search, console)
    loading = {
        "train": data.train,
        "val": data.val,
        "batch_size": batch_size,
        "eval_batch_size": 1,
        "num_workers": num_workers,
        "seed": seed,
    }
    categories = data.val_index.categories
    classes = {
        "class_names": [category.name for category in categories],
        "category_ids": [category.id for category in categories],
    }
    val_images = list(images(data.val, timed_images))
    rows: list[Row] = []
    trained: dict[str, Trained] = {}
    for recipe in chosen:
        result = train_recipe(recipe, loading, classes, out / recipe.key, 60 * minutes, val_images[0])
        trained[recipe.key] = result
        rows.append(row_of(recipe.name, recipe.key, result, val_images))
        console.print(table_of(rows))
    curve: list[Point] = []
    if set(trained) >= WITH_PROPOSALS:
        rcnn = trained["rcnn"].detector
        assert isinstance(rcnn, RCNN)
        curve = curve_of(rcnn, trained["fast_rcnn"].detector, val_images[0], console)
    settings = {"data": data.val_index.name, "minutes": minutes, "min_size": data.min_size, "search": search.method}
    settings |= {"seed": seed, "batch_size": batch_size, "timed_images": len(val_images)}
    write_json(out / "comparison.json", rows, curve, settings)
    draw(out / "comparison.png", rows, curve, f"{data.val_index.name}, {minutes:g} minutes of training each")
    console.print(f"{out / 'comparison.json'}, {out / 'comparison.png'}")
