"""For all tests: one thread each.

The suite runs in as many processes as there are cores. And a process that has used several OpenMP threads must not
fork: its child would wait for ever for threads that it does not have.
"""

import torch

torch.set_num_threads(1)
