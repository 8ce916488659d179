"""The RoI operators as CUDA kernels: one source, compiled for the GPU at hand when it is first used.

Read `roi_kernels.cu` for the arithmetic, then `operations.py` (tensors to launches), `arguments.py` (the kernels'
parameter structures), `compiler.py` (source to machine code, with a cache on disk) and `launcher.py` (the driver's
calls). Importing them neither compiles nor touches a GPU.
"""
