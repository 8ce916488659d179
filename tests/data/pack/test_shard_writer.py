import os

import pytest

from lightning_rcnn.data.pack.shard_writer import ShardWriter
from lightning_rcnn.data.pack.source import Sample


def write_samples(folder):
    record = {"image_id": 1, "width": 1, "height": 1, "file_name": "a.jpg", "annotations": []}
    with ShardWriter(folder, shard_size=1) as writer:
        for _ in range(3):
            writer.write(Sample(image=b"pixels", extension="jpg", record=record))


def test_a_full_disk_at_the_end_of_a_shard_is_the_error_that_arrives(tmp_path):
    (tmp_path / "shard-000000.tar").symlink_to("/dev/full")
    with pytest.raises(OSError, match=os.strerror(28)):
        write_samples(tmp_path)
