"""Memory, disk, shared memory and the GPU, against what training will need."""

import math
import shutil
import subprocess
import sys
from pathlib import Path

from client.checks.archive import usable_images
from client.checks.context import Context
from shared.checks import Check, fail, graded, ok
from shared.machine import GIB, disk_check, free_disk, memory_check
from shared.network_size import parameters_of
from shared.study import Study

#: What torch with its libraries takes before any model; what the ledger, the log and the databases may grow by.
BASE_MEMORY, BASE_DISK = 3 * GIB // 2, GIB
#: Model-sized arrays held at once in training: weights, round's start, gradients, optimiser (2), clipping, masks (2).
COPIES = 8
#: Workers that decode pass each other small messages through it only.
SHARED_MEMORY = 32 << 20
_ASK_TORCH = (
    "import torch\n"
    "free, total = torch.cuda.mem_get_info()\n"
    "torch.ones(8, device='cuda').sum().item()\n"
    "memory = f'{free / 2**30:.1f} of {total / 2**30:.1f} GiB free'\n"
    "print(f'{torch.cuda.get_device_name()}, {memory}, CUDA {torch.version.cuda}')\n"
)


def gpu(context: Context) -> Check:
    """With device = "cuda": torch, in a process of its own, sees the GPU and computes on it."""
    driver = _driver()
    if context.site.device == "cpu":
        return ok(f"not asked for (device = cpu){f'; there is one: {driver}' if driver else ''}")
    try:
        done = subprocess.run(  # noqa: S603  our own interpreter
            [sys.executable, "-c", _ASK_TORCH], capture_output=True, text=True, timeout=120, check=False
        )
    except subprocess.TimeoutExpired:
        return fail("torch found none within 120 s", "Restart the host's GPU driver.")
    if done.returncode == 0:
        return ok(f"{done.stdout.strip()}{f'; {driver}' if driver else ''}")
    why = (done.stderr.strip().splitlines() or ["torch ended"])[-1][:200]
    do = 'Install the driver and a CUDA build of torch, let the agent\'s user open /dev/nvidia*, or set device = "cpu".'
    return fail(f"{why}; {driver or 'no driver answers'}", do)


def _driver() -> str:
    """GPUs and driver as nvidia-smi names them; empty where it is missing or fails."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ""
    question = ["--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(  # noqa: S603  a fixed command
            [tool, *question], capture_output=True, text=True, timeout=20, check=False
        )
    except subprocess.TimeoutExpired:
        return ""
    return "; ".join(f"driver has {line}" for line in done.stdout.strip().splitlines()) if not done.returncode else ""


def memory(context: Context) -> Check:
    """Room for torch and, with a study, for its model and one batch."""
    return memory_check(BASE_MEMORY + (_training_bytes(context.study) if context.study else 0))


def disk(context: Context) -> Check:
    """Room for the image cache and the round's stored vectors."""
    images = usable_images(context)
    if context.study is None or images is None:
        why = (
            "without the image cache: give --study" if context.study is None else "without the image cache: scan first"
        )
        return disk_check(context.home.path, BASE_DISK, why)
    cache = images * _image_bytes(context.study)
    rounds = 2 * 4 * parameters_of(context.study)
    what = f"image cache of {images} images, two rounds, databases"
    return disk_check(context.home.path, BASE_DISK + cache + rounds, what)


def shared_memory(_: Context, folder: Path = Path("/dev/shm")) -> Check:  # noqa: S108  only looked at
    """The semaphores of the processes that decode have room in /dev/shm."""
    do = "Mount a tmpfs of 64 MiB there; in a container set shm_size."
    if not folder.is_dir():
        return fail(f"{folder} is not there", do)
    free = free_disk(folder)
    found = f"{free / 2**20:.0f} MiB free in {folder}"
    return graded(free, warn_at=SHARED_MEMORY, fail_at=SHARED_MEMORY / 32, found=found, do=do)


def _image_bytes(study: Study) -> int:
    return 4 * math.prod(study.input.shape)


def _training_bytes(study: Study) -> int:
    """The model's copies, and a batch of images with about 64 feature maps of their size."""
    return 4 * COPIES * parameters_of(study) + 64 * study.training.batch * _image_bytes(study)
