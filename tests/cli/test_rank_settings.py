"""Two ranks that were started with other settings; gathering is that of a process group, stood in for here."""

import pytest

from lightning_rcnn.cli import rank_settings
from lightning_rcnn.cli.rank_settings import require_same_settings
from lightning_rcnn.errors import InputError

FIRST = {
    "data": {"train": "/fast/a", "batch_size": 2, "num_workers": 4},
    "trainer": {"max_epochs": 3, "log_every_n_steps": 5},
    "model": {"init_args": {"optimizer": {"lr": 0.1}}},
}


@pytest.fixture
def beside(monkeypatch):
    """Compares the settings of rank 1 with those of rank 0."""

    def compare(settings):
        monkeypatch.setattr(rank_settings, "is_distributed", lambda: True)
        monkeypatch.setattr(rank_settings, "share_from_rank_zero", lambda own: FIRST)
        monkeypatch.setattr(rank_settings, "gather_on_all_ranks", lambda own: [[], own])
        require_same_settings(settings)

    return compare


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"data": {**FIRST["data"], "train": "/fast/b", "num_workers": 8}},
        {"trainer": {**FIRST["trainer"], "log_every_n_steps": 9}},
    ],
)
def test_what_may_differ_between_nodes_is_passed_over(beside, change):
    beside({**FIRST, **change})


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model": {"init_args": {"optimizer": {"lr": 0.2}}}}, "model.init_args.optimizer.lr 0.1 -> 0.2"),
        ({"trainer": {**FIRST["trainer"], "max_epochs": 4}}, "trainer.max_epochs 3 -> 4"),
        ({"data": {**FIRST["data"], "batch_size": 3}}, "data.batch_size 2 -> 3"),
    ],
)
def test_other_settings_are_named(beside, change, named):
    with pytest.raises(InputError, match=f"rank 1 has other settings than rank 0: {named}; start all nodes"):
        beside({**FIRST, **change})


def test_one_process_has_nobody_to_compare_with():
    require_same_settings(FIRST)
