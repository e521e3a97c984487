"""Before any test: one thread for torch, so that tests running beside other work do not fight over cores."""

import torch

torch.set_num_threads(1)
