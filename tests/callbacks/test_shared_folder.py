"""Two ranks in threads, each with the run folder of its node."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from types import SimpleNamespace

import pytest

from lightning_rcnn.callbacks.sharded_strategy import ShardedStrategy
from lightning_rcnn.callbacks.shared_folder import check_shared_folder, is_shared
from lightning_rcnn.errors import InputError


class Ranks:
    """The parts of Lightning's strategies by which two ranks talk."""

    def __init__(self):
        self._barrier, self._given = Barrier(2, timeout=10), [None, None]

    def exchanged(self, rank, value):
        self._barrier.wait()
        self._given[rank] = value
        self._barrier.wait()
        return list(self._given)

    def strategy(self, rank):
        return SimpleNamespace(
            is_global_zero=rank == 0,
            broadcast=lambda value: self.exchanged(rank, value)[0],
            barrier=lambda name: self.exchanged(rank, name),
            reduce_boolean_decision=lambda value: all(self.exchanged(rank, value)),
        )


@pytest.mark.parametrize("shared", [True, False])
def test_ranks_agree_whether_they_see_one_folder(tmp_path, shared):
    ranks = Ranks()
    folders = [tmp_path / "run"] * 2 if shared else [tmp_path / "a", tmp_path / "b"]
    with ThreadPoolExecutor(2) as pool:
        seen = list(pool.map(lambda rank: is_shared(folders[rank], ranks.strategy(rank)), range(2)))
    assert seen == [shared, shared]
    assert list(folders[0].iterdir()) == []


@pytest.mark.parametrize(("splits", "nodes", "is_asked"), [(True, 1, False), (False, 2, False), (True, 2, True)])
def test_only_split_checkpoints_of_several_nodes_need_it(tmp_path, monkeypatch, splits, nodes, is_asked):
    monkeypatch.setattr("lightning_rcnn.callbacks.shared_folder.is_shared", lambda folder, strategy: False)
    trainer = SimpleNamespace(
        strategy=ShardedStrategy(split_checkpoints=splits), num_nodes=nodes, default_root_dir=tmp_path
    )
    if not is_asked:
        check_shared_folder(trainer)
        return
    with pytest.raises(InputError, match=r"the 2 nodes do not share it"):
        check_shared_folder(trainer)
