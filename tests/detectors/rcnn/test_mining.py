import numpy as np
import pytest

from lightning_rcnn.detectors.rcnn.hinge import solve_hinge
from lightning_rcnn.detectors.rcnn.mining import ExampleCache

OPTIONS = {"cost": 0.01, "positive_weight": 2.0, "bias_feature": 10.0}


@pytest.fixture
def stream():
    """Few positives of two classes among many negatives, in an order by chance."""
    draw = np.random.default_rng(1)
    group = draw.choice(6, 900, p=[0.1, 0.1, 0.2, 0.2, 0.2, 0.2])
    features = (3 * draw.normal(size=(6, 12))[group] + 2 * draw.normal(size=(900, 12))).astype(np.float32)
    return features, np.where(group[:, None] == np.arange(2), 1, -1).astype(np.int8)


def mine(features, signs, limit=10000):
    """One pass in ten parts; gives the cache, the last solution, and how large the cache was at most."""
    cache = ExampleCache(features.shape[1], signs.shape[1], easy_margin=-1.2, limit=limit, **OPTIONS)
    weights, biases, largest = np.zeros((signs.shape[1], features.shape[1]), np.float32), np.zeros(signs.shape[1]), 0
    for part in np.array_split(np.arange(len(features)), 10):
        is_hard = features[part] @ weights.T + biases > -1
        wanted = np.where((signs[part] > 0) | is_hard, signs[part], 0).astype(np.int8)
        new = wanted.any(axis=1)
        cache.add(features[part][new], wanted[new])
        weights, biases, *_ = cache.solve()
        largest = max(largest, len(cache))
    return cache, weights, biases, largest


def test_one_pass_comes_close_to_the_solution_for_all_examples(stream):
    features, signs = stream
    cache, weights, biases, _ = mine(features, signs)
    best = solve_hinge(features, signs, **OPTIONS)
    decisions, wanted = features @ weights.T + biases > 0, features @ best.weights.T + best.biases > 0
    assert (decisions == wanted).mean() >= 0.99
    assert len(cache) < 0.7 * len(features)


def test_easy_examples_leave_and_positives_stay(stream):
    features, signs = stream
    cache, weights, biases, _ = mine(features, signs)
    assert ((cache.signs > 0).sum(axis=0) == (signs > 0).sum(axis=0)).all()
    margins = cache.features @ weights.T + biases
    assert (margins[cache.signs < 0] >= -1.2).all()


def test_the_cache_is_bounded_by_the_hardest(stream):
    features, signs = stream
    num_positives = int((signs > 0).any(axis=1).sum())
    limit = num_positives + 30
    cache, *_, largest = mine(features, signs, limit=limit)
    assert largest <= limit
    assert (cache.signs > 0).any(axis=1).sum() == num_positives
    assert len(mine(features, signs, limit=5)[0]) == num_positives, "positives are never dropped"
