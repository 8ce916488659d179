"""CUDA kernels of the region operators, compiled for the GPU at first use.

`roi_kernels.cu`, `nms.cu` and `render.cu` hold the arithmetic; `operations.py`, `bitmaps.py`, `suppression.py` and
`rendering.py` turn tensors into launches; `arguments.py` mirrors the kernels' parameter structures; `compiler.py`
compiles, with a cache on disk; `launcher.py` calls the driver. Importing them neither compiles anything nor initializes
a GPU.
"""
