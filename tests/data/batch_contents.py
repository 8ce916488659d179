"""What batches hold, without the padding, which depends on how many samples share a batch."""

from lightning_rcnn.structures import Batch, Bitmaps


def contents(batch: Batch) -> list[tuple[bytes, ...]]:
    """Id, pixels, boxes, labels, crowds and masks of each slot of a batch with targets."""
    targets = batch.targets
    found = []
    for slot, number in enumerate(targets.is_object.sum(dim=1).tolist()):
        parts = [batch.image_ids[slot], batch.images[slot], targets.boxes[slot, :number], targets.labels[slot, :number]]
        parts.append(targets.is_crowd[slot, :number])
        if isinstance(targets.masks, Bitmaps):
            sizes, first = targets.masks.sizes[slot, :number], targets.masks.first_byte[slot, :number]
            parts += [sizes, targets.masks.boxes[slot, :number]]
            lengths = (sizes.prod(dim=1) + 7) // 8
            bits = zip(first.tolist(), lengths.tolist(), strict=True)
            parts += [targets.masks.bits[begin : begin + length] for begin, length in bits]
        elif targets.masks is not None:
            edges = targets.masks.edges[slot, :number]
            parts += [edges[number_of][edges[number_of].any(dim=1)] for number_of in range(number)]
        found.append(tuple(part.numpy().tobytes() for part in parts))
    return found
