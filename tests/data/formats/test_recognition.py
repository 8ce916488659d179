"""Which format a data set is taken for, whatever else lies beside it."""

import json

import pytest

from lightning_rcnn.data.formats.layout import Layout
from lightning_rcnn.data.formats.recognition import recognize
from tests.data.formats.junk import COCO, SETS
from tests.data.formats.test_junk import write

CAPTIONS = {"images": COCO["images"], "annotations": [{"id": 1, "image_id": 1, "caption": "a cat"}]}
RESULTS = [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}]
BYSTANDERS = {
    "README.txt": "1 2 3 4 5\nsome words\n",
    "requirements.txt": "torch==2.11\nnumpy\n",
    "split/val.txt": "b\n",
    "config.json": '{"lr": 0.1, "classes": ["cat"]}',
    "captions.json": json.dumps(CAPTIONS),
    "results.json": json.dumps(RESULTS),
    "metrics.jsonl": '{"epoch": 1, "loss": 0.5}\n{"epoch": 2, "loss": 0.4}\n',
    "log.csv": "epoch,loss\n1,0.5\n",
    "sizes.csv": "id,width,height\na,64,48\n",
    "image_classes.csv": "image,label\na.jpg,cat\n",
    "sample_submission.csv": "ImageId,EncodedPixels\na.jpg,1 3\n",
    "pom.xml": "<project><version>1</version></project>",
    "detections.txt": "other.jpg;1;2;3;4;0\n",
    "timings.txt": "1,2,3,4,5,6,7,8\n",
    "poses.txt": "1 0 0 0 0 1 0 0 0 0 1 0\n",
}
"""Files that people have beside their data; none is an annotation of these images."""


@pytest.mark.parametrize("name", SETS)
def test_files_beside_a_set_do_not_change_what_it_is_taken_for(write_files, name):
    root = write(write_files, name, SETS[name])
    alone = recognize(Layout(root))
    for bystander, text in BYSTANDERS.items():
        path = root / bystander
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            assert [found.name for found in recognize(Layout(root))] == [found.name for found in alone], bystander
            path.unlink()
