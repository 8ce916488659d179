"""The arithmetic of scaling, by hand and at its limits."""

from dataclasses import replace

import pytest
from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights

from lightning_rcnn.bench.coco_like import CocoLike, coco_like
from lightning_rcnn.bench.scaling import Figures, exposed_all_reduce, scale

FAST = Figures(
    images_per_second=100.0,
    batch_size=2,
    object_us=0.0,
    balance_window=1,
    core_images_per_second=50.0,
    cores=64,
    parameters=50.0,
    gradient_bytes=4,
    bucket_mb=50.0,
    bandwidth=1e9,
    node_bandwidth=1e9,
    latency_us=0.0,
    evaluation_images_per_second=100.0,
    scoring_seconds=1.0,
    checkpoint_seconds=0.0,
    checkpoint_steps=100,
    failures=0.0,
    restart_seconds=0.0,
    epochs=10,
)
"""Four buckets of 50 MB, and nothing that holds up a step of 20 ms."""


@pytest.fixture(scope="module")
def coco() -> CocoLike:
    return coco_like()


@pytest.mark.parametrize("nodes", [1, 4, 128])
def test_without_anything_in_the_way_it_scales_ideally(coco, nodes):
    row = scale(FAST, coco, nodes)
    assert row.step == pytest.approx(0.02)
    assert row.images_per_second == pytest.approx(row.ideal) == pytest.approx(800 * nodes)
    assert row.global_batch == 16 * nodes
    assert row.epoch == pytest.approx(118_287 // (16 * nodes) * 0.02)
    assert row.training == pytest.approx(10 * (row.epoch + row.evaluation))


def test_an_all_reduce_that_keeps_up_shows_its_last_bucket():
    """Two nodes send 2 x 50 MB x 1/2 for each bucket: 5 ms at 10 GB/s; backward takes 10 ms a bucket."""
    figures = replace(FAST, bandwidth=10.0)
    assert exposed_all_reduce(figures, nodes=2, backward=0.04) == pytest.approx(0.005)
    with_latency = replace(figures, latency_us=1000.0)  # there and back
    assert exposed_all_reduce(with_latency, nodes=2, backward=0.04) == pytest.approx(0.007)
    halved = replace(figures, gradient_bytes=2)
    assert exposed_all_reduce(halved, nodes=2, backward=0.04) == pytest.approx(0.0025)


def test_an_all_reduce_that_falls_behind_waits_for_all_but_the_first_bucket():
    """Each of four buckets takes 50 ms, and the first is full after 2 ms of 8."""
    figures = replace(FAST, bandwidth=1.0)
    assert exposed_all_reduce(figures, nodes=2, backward=0.008) == pytest.approx(0.002 + 4 * 0.05 - 0.008)


def test_within_a_node_gradients_take_its_own_links():
    """2 x 50 MB x 7/8 at 100 GB/s."""
    assert exposed_all_reduce(replace(FAST, node_bandwidth=100.0), nodes=1, backward=1.0) == pytest.approx(0.000875)


def test_few_cores_hold_up_a_step(coco):
    row = scale(replace(FAST, cores=4), coco, 2)
    assert row.images_per_second == pytest.approx(2 * 4 * 50)
    assert row.cores == pytest.approx(800 / 50)
    assert row.largest_loss == "loading"


def test_checkpoints_and_failures_add_their_share(coco):
    """.2 s each 100 steps of 20 ms; 8 nodes fail once a day each, and lose 58 s and half of 2 s and the checkpoint."""
    row = scale(replace(FAST, checkpoint_seconds=0.2), coco, 8)
    assert row.checkpoints == pytest.approx(0.1)
    assert row.largest_loss == "checkpoints"
    row = scale(replace(FAST, failures=1.0, restart_seconds=59.0), coco, 8)
    assert row.restarts == pytest.approx(8 * 60 / 86_400)


def test_an_evaluation_takes_whole_batches(coco):
    """5000 images on 1024 ranks with 2 a batch are 3 batches for the busiest."""
    assert scale(FAST, coco, 128).evaluation == pytest.approx(6 / 100 + 1.0)


def test_objects_make_ranks_wait_and_balance_makes_them_wait_less(coco):
    costly = replace(FAST, object_us=100.0)
    row, evened = scale(costly, coco, 8), scale(replace(costly, balance_window=16), coco, 8)
    assert row.largest_loss == "waiting"
    assert evened.waiting < 0.5 * row.waiting


def test_the_number_of_parameters_is_torchvisions():
    assert MaskRCNN_ResNet50_FPN_Weights.COCO_V1.meta["num_params"] == 44_401_393
