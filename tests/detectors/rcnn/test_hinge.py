"""Against scikit-learn's `LinearSVC`, which is liblinear."""

import numpy as np
import pytest

from lightning_rcnn.detectors.rcnn.hinge import solve_hinge

COST, POSITIVE_WEIGHT, BIAS_FEATURE = 1e-3, 2.0, 10.0


@pytest.fixture(scope="module")
def problem():
    """Features as a network's, at least 0 and of a mean norm of 20, and signs of three classes that overlap."""
    draw = np.random.default_rng(0)
    group = draw.integers(0, 9, 1500)
    hidden = draw.normal(size=(9, 16))[group] + draw.normal(size=(1500, 16))
    features = np.maximum(hidden @ draw.normal(size=(16, 200)) + draw.normal(size=(1500, 200)), 0).astype(np.float32)
    features *= 20 / np.linalg.norm(features, axis=1).mean()
    signs = np.where(group[:, None] == np.arange(3), 1, -1).astype(np.int8)
    return features, signs


def solve(features, signs, **options):
    return solve_hinge(
        features, signs, cost=COST, positive_weight=POSITIVE_WEIGHT, bias_feature=BIAS_FEATURE, **options
    )


def liblinear(features, signs):
    """Weights and bias for one class; examples with sign 0 are left out."""
    svm = pytest.importorskip("sklearn.svm")
    machine = svm.LinearSVC(
        loss="hinge",
        C=COST,
        class_weight={1: POSITIVE_WEIGHT},
        intercept_scaling=BIAS_FEATURE,
        tol=1e-6,
        max_iter=20000,
        random_state=0,
    )
    machine.fit(features[signs != 0], signs[signs != 0])
    return machine.coef_[0], machine.intercept_[0]


def objective(weights, bias, features, signs):
    costs = COST * np.where(signs > 0, POSITIVE_WEIGHT, 1.0) * (signs != 0)
    norm = weights.astype(np.float64) @ weights + (bias / BIAS_FEATURE) ** 2
    return norm / 2 + (costs * np.maximum(0, 1 - signs * (features @ weights + bias))).sum()


def test_as_liblinear(problem):
    features, signs = problem
    machines = solve(features, signs)
    assert machines.gap <= 5e-4
    for k in range(3):
        weights, bias = liblinear(features, signs[:, k])
        ours = features @ machines.weights[k] + machines.biases[k]
        theirs = features @ weights + bias
        assert ((ours > 0) == (theirs > 0)).mean() >= 0.99
        best = objective(weights, bias, features, signs[:, k])
        assert abs(objective(machines.weights[k], machines.biases[k], features, signs[:, k]) / best - 1) < 1e-3


def test_examples_that_take_no_part_in_a_class(problem):
    features, signs = problem
    partial = signs.copy()
    partial[::3, 0] = 0
    partial[:100, 1] = 0
    machines = solve(features, partial)
    assert (machines.dual[partial == 0] == 0).all()
    for k in range(3):
        best = objective(*liblinear(features, partial[:, k]), features, partial[:, k])
        assert abs(objective(machines.weights[k], machines.biases[k], features, partial[:, k]) / best - 1) < 1e-3


def test_the_gap_is_an_upper_bound_and_reaches_what_is_asked_for(problem):
    features, signs = problem
    best = solve(features, signs, tolerance=1e-6)
    assert best.gap <= 1e-6
    rough = solve(features, signs, tolerance=0.02)
    for k in range(3):
        ratio = objective(rough.weights[k], rough.biases[k], features, signs[:, k]) / objective(
            best.weights[k], best.biases[k], features, signs[:, k]
        )
        assert ratio <= 1 / (1 - rough.gap) + 1e-4
    assert solve(features, signs, tolerance=0, max_sweeps=3).gap > 0


def test_a_solution_is_where_the_next_one_starts(problem):
    features, signs = problem
    first = solve(features, signs)
    again = solve(features, signs, dual=first.dual, max_sweeps=0)
    assert again.gap <= 5e-4
    np.testing.assert_allclose(again.weights, first.weights, atol=1e-6)


def test_a_problem_solved_by_hand():
    """Points at 1 and -1 on a line: w = 1 has no loss, and costs the least where a violation costs more than w."""
    features, signs = np.array([[1.0], [-1.0]], np.float32), np.array([[1], [-1]], np.int8)
    machine = solve_hinge(features, signs, cost=10.0, tolerance=1e-6)
    np.testing.assert_allclose(machine.weights, [[1.0]], atol=1e-4)
    np.testing.assert_allclose(machine.biases, [0.0], atol=1e-4)
    # At a tenth of a violation's price w = 2 * 0.1, where the slope of w^2 / 2 meets that of the losses.
    np.testing.assert_allclose(solve_hinge(features, signs, cost=0.1, tolerance=1e-6).weights, [[0.2]], atol=1e-4)


def test_without_examples_the_weights_are_zero():
    machines = solve_hinge(np.zeros((0, 4), np.float32), np.zeros((0, 2), np.int8), cost=1.0)
    assert not machines.weights.any()
    assert machines.gap == 0
