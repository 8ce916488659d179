"""Pack data sets into shards: annotations in any known format, samples from Python, and generated scenes.

A source (`voc.py`, `coco.py`, `labeled.py` for other formats, `samples.py`, `shapes.py`) lists its items and reads an
item into a sample; `any_format.py` recognizes which is due. `write.py` reads the items in parallel and writes the
samples into WebDataset shards; the folder appears when it is complete. The rules for bad input are in
`data/defects.py`. This file imports nothing, so that generating scenes does not load torch.
"""
