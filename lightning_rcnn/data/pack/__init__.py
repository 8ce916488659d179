"""Pack data sets into shards: Pascal VOC, COCO and generated scenes.

A source (`voc.py`, `coco.py`, `shapes.py`) lists its items and reads an item into a sample. `write.py` reads the items
in parallel and writes the samples into WebDataset shards; the folder appears when it is complete. The rules for bad
input are in `data/defects.py`. This file imports nothing, so that generating scenes does not load torch.
"""
