import gc

import pytest

from lightning_rcnn.data.garbage import frozen_objects, paused_collection


def test_collection_is_as_before_after_the_block_and_after_an_error():
    assert gc.isenabled()
    with paused_collection():
        assert not gc.isenabled()
        with paused_collection():
            pass
        assert not gc.isenabled(), "an inner block leaves the outer one alone"
    assert gc.isenabled()
    with pytest.raises(KeyError), paused_collection():
        raise KeyError
    assert gc.isenabled()
    assert paused_collection()(gc.isenabled)() is False


def test_objects_are_left_out_of_the_search_only_for_a_while():
    with frozen_objects():
        assert gc.get_freeze_count() > 0
    assert gc.get_freeze_count() == 0
    with pytest.raises(KeyError), frozen_objects():
        raise KeyError
    assert gc.get_freeze_count() == 0
