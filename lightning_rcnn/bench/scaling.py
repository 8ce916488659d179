"""How a training scales on paper: what a step, an epoch and a whole training take on any number of nodes.

Nothing here is measured; `Figures` says where each number comes from. A step is compute, and what is not hidden
behind it: waiting for the slowest rank (simulated through the planner, `stragglers.py`), and all-reduce.
"""

import math
from dataclasses import dataclass

from lightning_rcnn.bench.coco_like import NUM_IMAGES, CocoLike
from lightning_rcnn.bench.stragglers import waiting_with_plan

GPUS = 8
"""GPUs of a node."""
VALIDATION_IMAGES = 5000
BACKWARD = 2 / 3
"""Share of backward in the compute of a step: twice the operations of forward."""
SECONDS_OF_A_DAY = 86_400


@dataclass(frozen=True)
class Figures:
    """What is known of the hardware, the model and the program; the command `bench scaling` has a source for each.

    Attributes:
        images_per_second: training speed of a GPU alone.
        batch_size: images of a GPU in a step.
        object_us: microseconds of a GPU for an object of an image.
        balance_window: see `LoadingSettings`.
        core_images_per_second: images that a core loads in a second.
        cores: cores of a node.
        parameters: parameters with gradients, in millions.
        gradient_bytes: bytes of a gradient on the network.
        bucket_mb: size of DDP's buckets, MB of float32 gradients.
        bandwidth: what a node sends in a second, GB.
        node_bandwidth: what a GPU sends in a second within its node, GB.
        latency_us: microseconds of a message between nodes.
        evaluation_images_per_second: speed of a GPU in evaluation.
        scoring_seconds: seconds for the metrics after the last image.
        checkpoint_seconds: seconds that all ranks wait for a checkpoint.
        checkpoint_steps: steps between two checkpoints.
        failures: failures of a node in a day.
        restart_seconds: seconds from a failure to the next step.
        epochs: epochs of a training, with an evaluation after each.
    """

    images_per_second: float
    batch_size: int
    object_us: float
    balance_window: int
    core_images_per_second: float
    cores: int
    parameters: float
    gradient_bytes: int
    bucket_mb: float
    bandwidth: float
    node_bandwidth: float
    latency_us: float
    evaluation_images_per_second: float
    scoring_seconds: float
    checkpoint_seconds: float
    checkpoint_steps: int
    failures: float
    restart_seconds: float
    epochs: int


@dataclass(frozen=True)
class Row:
    """A training on some nodes; times in seconds, shares of the time that the thing before it takes.

    Attributes:
        nodes: number of nodes.
        global_batch: images of a step.
        waiting: seconds of a step in which the average rank waits for the slowest.
        all_reduce: seconds of a step in which all wait for gradients.
        loading: seconds of a step in which all wait for images.
        step: seconds of a step.
        cores: cores of a node that loading needs.
        evaluation: seconds of an evaluation.
        checkpoints: share of the steps' time, added by checkpoints.
        restarts: share of the training's time, added by failures.
        ideal: images per second of all GPUs if nothing held them up.
        epochs: number of epochs.
    """

    nodes: int
    global_batch: int
    waiting: float
    all_reduce: float
    loading: float
    step: float
    cores: float
    evaluation: float
    checkpoints: float
    restarts: float
    ideal: float
    epochs: int

    @property
    def images_per_second(self) -> float:
        """Images per second of all GPUs while they train."""
        return self.global_batch / self.step

    @property
    def epoch(self) -> float:
        """Seconds of the steps of an epoch."""
        return NUM_IMAGES // self.global_batch * self.step

    @property
    def training(self) -> float:
        """Seconds of the whole training, with evaluation, checkpoints and restarts."""
        return self.epochs * (self.epoch * (1 + self.checkpoints) + self.evaluation) * (1 + self.restarts)

    @property
    def largest_loss(self) -> str:
        """Name of what costs most of the training beside compute."""
        epoch_share = self.epoch / self.step
        losses = {
            "waiting": self.waiting * epoch_share,
            "all-reduce": self.all_reduce * epoch_share,
            "loading": self.loading * epoch_share,
            "evaluation": self.evaluation,
            "checkpoints": self.checkpoints * self.epoch,
            "restarts": self.restarts * (self.epoch + self.evaluation),
        }
        return max(losses, key=lambda name: losses[name])


def scale(figures: Figures, images: CocoLike, nodes: int) -> Row:
    """Compute what a training takes on a number of nodes."""
    ranks = nodes * GPUS
    compute = figures.batch_size / figures.images_per_second
    object_cost = figures.object_us * 1e-6 * figures.images_per_second
    share = waiting_with_plan(images, ranks, figures.batch_size, figures.balance_window, object_cost).share
    waiting = compute * share / (1 - share)
    all_reduce = exposed_all_reduce(figures, nodes, BACKWARD * compute)
    computed = compute + waiting + all_reduce
    loaded = GPUS * figures.batch_size / (figures.cores * figures.core_images_per_second)
    step = max(computed, loaded)
    own_images = math.ceil(VALIDATION_IMAGES / (ranks * figures.batch_size)) * figures.batch_size
    checkpoints = figures.checkpoint_seconds / (figures.checkpoint_steps * step)
    lost = figures.restart_seconds + figures.checkpoint_steps / 2 * step
    return Row(
        nodes=nodes,
        global_batch=ranks * figures.batch_size,
        waiting=waiting,
        all_reduce=all_reduce,
        loading=step - computed,
        step=step,
        cores=GPUS * figures.batch_size / computed / figures.core_images_per_second,
        evaluation=own_images / figures.evaluation_images_per_second + figures.scoring_seconds,
        checkpoints=checkpoints,
        restarts=figures.failures * nodes / SECONDS_OF_A_DAY * lost,
        ideal=ranks * figures.images_per_second,
        epochs=figures.epochs,
    )


def exposed_all_reduce(figures: Figures, nodes: int, backward: float) -> float:
    """Return the seconds from the end of backward to the end of the last all-reduce.

    Backward fills the buckets one by one, at equal distances; each is reduced as soon as it is full and the one before
    is done. A ring sends 2 (n - 1) / n of it over each link, in a node and between nodes; between nodes, a message
    passes a tree up and down.
    """
    num_buckets = max(1, math.ceil(figures.parameters * 4 / figures.bucket_mb))
    gigabytes = figures.parameters * figures.gradient_bytes / num_buckets / 1e3
    in_node = 2 * gigabytes * (GPUS - 1) / GPUS / figures.node_bandwidth
    hops = 2 * math.ceil(math.log2(nodes)) if nodes > 1 else 0
    between = 2 * gigabytes * (nodes - 1) / nodes / figures.bandwidth + hops * figures.latency_us * 1e-6
    end = 0.0
    for bucket in range(1, num_buckets + 1):
        end = max(end, backward * bucket / num_buckets) + in_node + between
    return end - backward
