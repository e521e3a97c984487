"""Before any test: one torch thread, so that tests beside other work do not fight over cores; and, where CI is set, the
same Hypothesis examples every time. A run by hand explores new ones."""

import os

import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")
