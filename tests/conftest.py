"""For all tests: one thread each, also in the processes that they start.

The suite runs in as many processes as there are cores; sums over one thread and over two differ in their last bits; and
a process that has used several OpenMP threads must not fork: its child would wait for ever for threads that it has not.

And no example of a property test has to be quick: on a busy machine it is not.
"""

import os

import torch
from hypothesis import settings

os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
