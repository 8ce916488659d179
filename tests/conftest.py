"""For all tests: one thread each, also in the processes that they start.

The suite runs in as many processes as there are cores; sums over one thread and over two differ in their last bits; and
a process that has used several OpenMP threads must not fork: its child would wait for ever for threads that it has not.
"""

import os

import torch

os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)
