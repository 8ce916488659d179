"""Where ranks are forked: nowhere by default, and once where a launcher wants it."""

from lightning_rcnn.cli import forking


def test_without_a_launcher_nothing_happens():
    assert not forking.become_a_rank(2)


def test_a_launcher_forks_once():
    sizes = []
    forking.fork_ranks_by(sizes.append)
    assert forking.become_a_rank(2)
    assert not forking.become_a_rank(3)  # a rank may build another trainer
    assert sizes == [2]
