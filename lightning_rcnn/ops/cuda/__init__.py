"""CUDA kernels of the region operators, compiled for the GPU at first use.

`roi_kernels.cu` and `nms.cu` hold the arithmetic; `operations.py`, `bitmaps.py` and `suppression.py` turn tensors into
launches; `arguments.py` mirrors the kernels' parameter structures; `compiler.py` compiles, with a cache on disk;
`launcher.py` calls the driver. Importing them neither compiles anything nor initializes a GPU.
"""
