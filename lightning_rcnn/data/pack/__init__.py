"""Data sets to shards: Pascal VOC, COCO and generated scenes.

A source (`voc.py`, `coco.py`, `shapes.py`) lists its items and reads one of them into a sample; `write.py` reads them
in parallel, puts the samples into WebDataset shards, and lets the folder appear when it is whole. The rules for bad
input are in `data/defects.py`. Nothing is imported here: who generates scenes need not wait for torch.
"""
