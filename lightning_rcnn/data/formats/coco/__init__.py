"""The reader of COCO's JSON files for `pack`, `evaluate` and `propose --boxes`.

`json_files.py` parses JSON and recognizes files of other formats (`other_formats.py`). `scalars.py` and `ids.py` accept
numbers and ids in every spelling. `categories.py`, `boxes.py`, `segmentations.py` and `relative.py` each read one part
of an annotation, and `annotations.py` combines them. Defects are counted by the rules of `data/defects.py`.

Source of the format: https://cocodataset.org/#format-data
"""
