import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_rcnn.functional.sampling import random_keys, sample_balanced


@settings(deadline=None)
@given(
    st.integers(0, 10_000), st.floats(0, 1), st.floats(0, 1), st.integers(1, 60), st.sampled_from([0.0, 0.25, 0.5, 1.0])
)
def test_counts_follow_the_rule_of_the_references(seed, fraction_positive, fraction_negative, num_samples, fraction):
    generator = torch.Generator().manual_seed(seed)
    is_positive = torch.rand(3, 40, generator=generator) < fraction_positive
    is_negative = (torch.rand(3, 40, generator=generator) < fraction_negative) & ~is_positive
    keys = random_keys(torch.tensor(seed), torch.arange(3), 40)
    samples = sample_balanced(is_positive, is_negative, keys, num_samples, fraction)
    for image in range(3):
        num_positive = min(int(num_samples * fraction), int(is_positive[image].sum()))
        num_negative = min(num_samples - num_positive, int(is_negative[image].sum()))
        drawn = samples.indices[image][samples.is_valid[image]]
        assert samples.is_positive[image].sum() == num_positive
        assert samples.is_valid[image].sum() == num_positive + num_negative
        assert len(set(drawn.tolist())) == len(drawn)
        assert is_positive[image, samples.indices[image][samples.is_positive[image]]].all()
        assert is_negative[image, drawn[num_positive:]].all()


def test_keys_are_uniform_and_unrelated():
    keys = random_keys(torch.tensor(3), torch.tensor([7, 8]), 100_000).double()
    histogram = torch.histc(keys, bins=50, min=0, max=1)
    expected = keys.numel() / 50
    chi_square = ((histogram - expected) ** 2 / expected).sum()
    assert chi_square < 49 + 5 * (2 * 49) ** 0.5
    assert abs(torch.corrcoef(keys)[0, 1]) < 0.02
    assert abs(torch.corrcoef(torch.stack((keys[0, 1:], keys[0, :-1])))[0, 1]) < 0.02


def test_keys_depend_on_seed_and_image_only():
    alone = random_keys(torch.tensor(5), torch.tensor([42]), 64)
    together = random_keys(torch.tensor(5), torch.tensor([1, 42, 3]), 64)
    assert alone[0].equal(together[1])
    assert not alone.equal(random_keys(torch.tensor(6), torch.tensor([42]), 64))


def test_every_box_is_drawn_equally_often():
    count = torch.zeros(20)
    for seed in range(2000):
        keys = random_keys(torch.tensor(seed), torch.tensor([9]), 20)
        samples = sample_balanced(
            torch.zeros(1, 20, dtype=torch.bool), torch.ones(1, 20, dtype=torch.bool), keys, 5, 0.5
        )
        count[samples.indices[0]] += 1
    assert (count - 500).abs().max() < 5 * (2000 * 0.25 * 0.75) ** 0.5
