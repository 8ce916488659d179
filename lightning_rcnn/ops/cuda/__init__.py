"""The operators on regions as CUDA kernels, compiled for the GPU at hand when they are first used.

Read `roi_kernels.cu` and `nms.cu` for the arithmetic, then `operations.py`, `bitmaps.py` and `suppression.py` (tensors
to launches), `arguments.py` (the kernels' parameter structures), `compiler.py` (source to machine code, with a cache on
disk) and `launcher.py` (the driver's calls). Importing them neither compiles nor touches a GPU.
"""
