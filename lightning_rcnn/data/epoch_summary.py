"""Say in a line which images an epoch has."""

from lightning_rcnn.data.epoch_counts import EpochCounts
from lightning_rcnn.data.image_classes import ImageClasses
from lightning_rcnn.data.sampling import Sampling
from lightning_rcnn.plural import plural


def epoch_summary(sampling: Sampling, counts: EpochCounts, images: ImageClasses, global_batch_size: int) -> str:
    """Return a line with the length of an epoch, and the class and the image that it has most often.

    Args:
        sampling: kind of sampling.
        counts: how often an epoch has each image.
        images: classes and ids of the images.
        global_batch_size: number of images of all ranks together in a step.
    """
    num_batches, num_left = divmod(counts.size, global_batch_size)
    batches = f"{plural(num_batches, 'batch')} of {global_batch_size}"
    if num_left:
        batches += f", which leaves out {num_left}"
    if sampling == Sampling():
        return f"An epoch has {plural(counts.size, 'image')}, each once: {batches}."
    averages = counts.averages
    most = int(averages.argmax())
    parts = []
    if len(images.class_of_pair):
        of_class = images.mean_of_class(averages)
        label = int(of_class.argmax())
        parts.append(f"class {images.class_names[label]} {of_class[label]:.3g} times an image that shows it")
    parts.append(f"image {images.image_ids[most]} {averages[most]:.3g} times")
    left_out = int((averages == 0).sum())
    end = f"; never: {plural(left_out, 'image')}" if left_out else ""
    return (
        f"An epoch has {plural(counts.size, 'image')} of {len(images):,} by {sampling}: {batches}; most often: "
        f"{', '.join(parts)}{end}."
    )
