import numpy as np
import pytest
import torch

from lightning_rcnn.detectors.rcnn.ridge import solve_ridge


@pytest.mark.parametrize(("num_examples", "num_features"), [(40, 300), (300, 40), (1500, 1100), (1, 5)])
@pytest.mark.parametrize("penalty", [1000.0, 0.1])
def test_as_scikit_learn(num_examples, num_features, penalty):
    linear_model = pytest.importorskip("sklearn.linear_model")
    draw = np.random.default_rng(0)
    features = np.maximum(draw.normal(size=(num_examples, num_features)) + 0.5, 0).astype(np.float32)
    targets = (features[:, :4] @ draw.normal(size=(4, 4)) / 10 + draw.normal(size=(num_examples, 4)) / 10 + 0.3).astype(
        np.float32
    )
    ours = solve_ridge(torch.from_numpy(features), torch.from_numpy(targets), penalty)
    theirs = linear_model.Ridge(alpha=penalty, solver="svd").fit(
        features.astype(np.float64), targets.astype(np.float64)
    )
    np.testing.assert_allclose(ours.weights.numpy(), theirs.coef_, atol=1e-5)
    np.testing.assert_allclose(ours.intercepts.numpy(), theirs.intercept_, atol=1e-5)
    np.testing.assert_allclose(
        features @ ours.weights.numpy().T + ours.intercepts.numpy(), theirs.predict(features), atol=1e-5
    )


def test_a_line_by_hand():
    """Three points of slope 2 about (1, 3): 4 / (2 + 2) of it is left by a penalty of 2, and the mean is met."""
    line = solve_ridge(torch.tensor([[0.0], [1], [2]]), torch.tensor([[1.0], [3], [5]]), 2.0)
    torch.testing.assert_close(line.weights, torch.tensor([[1.0]]))
    torch.testing.assert_close(line.intercepts, torch.tensor([2.0]))
