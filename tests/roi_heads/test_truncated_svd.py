import pytest
import torch

from lightning_rcnn.errors import InputError
from lightning_rcnn.roi_heads.box_head import AveragePool, FullyConnected
from lightning_rcnn.roi_heads.truncated_svd import nearest, replace_with_low_rank, truncate


@pytest.fixture
def head():
    torch.manual_seed(0)
    return FullyConnected(3, 4, 20)


def test_full_rank_changes_nothing(head):
    regions = torch.randn(5, 3, 4, 4)
    expected = head(regions)
    truncate(head, (20, 20))
    torch.testing.assert_close(head(regions), expected, atol=1e-5, rtol=1e-5)


def test_the_error_of_truncation_is_the_dropped_singular_values():
    torch.manual_seed(0)
    layer = torch.nn.Linear(30, 12)
    low_rank = nearest(layer, 7)
    error = layer.weight - low_rank.second.weight @ low_rank.first.weight
    # Eckart and Young: no matrix of rank 7 is nearer.
    expected = torch.linalg.svdvals(layer.weight)[7:].square().sum().sqrt()
    torch.testing.assert_close(error.norm(), expected)
    assert low_rank.second.bias.equal(layer.bias)


def test_low_rank_layers_have_the_keys_and_shapes_of_truncated_ones(head):
    low_rank = FullyConnected(3, 4, 20)
    replace_with_low_rank(low_rank, (8, 5))
    truncate(head, (8, 5))
    low_rank.load_state_dict(head.state_dict())
    regions = torch.randn(5, 3, 4, 4)
    assert low_rank(regions).equal(head(regions))


@pytest.mark.parametrize("ranks", [(0, 5), (8, 21)])
def test_ranks_that_a_layer_does_not_have(head, ranks):
    with pytest.raises(InputError, match=r"out of range for fc[67]; give 1 to 20"):
        truncate(head, ranks)


def test_a_head_without_fully_connected_layers():
    with pytest.raises(InputError, match="no fully connected layer fc6"):
        truncate(AveragePool(8), (8, 8))
