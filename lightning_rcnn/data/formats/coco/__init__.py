"""The one reader of COCO's JSON files, for all that reads them: `pack`, `evaluate`, `propose --boxes`.

`json_files.py` turns bytes into JSON and names files of other formats (`other_formats.py`); `scalars.py` and `ids.py`
take numbers and ids in every spelling; `categories.py`, `boxes.py`, `segmentations.py` and `relative.py` each read one
part of an annotation; `annotations.py` puts them together. What is odd is counted by the rules of `data/defects.py`.

Source of the format: https://cocodataset.org/#format-data
"""
