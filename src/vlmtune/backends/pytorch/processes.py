"""The processes that torchrun, accelerate or vlmtune itself started for one training.

Each knows its place from the variables that launchers set (RANK, LOCAL_RANK, WORLD_SIZE). Numbers
and short messages go through gloo, on the CPU, so that they reach the others while GPUs compute.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed as dist

from vlmtune.backends.pytorch.choices import Device
from vlmtune.backends.pytorch.devices import choose_device
from vlmtune.backends.team import ALONE, Team
from vlmtune.errors import ConfigError, RunFailed

T = TypeVar("T")
_FAREWELLS = (
    "connection closed", "connection reset", "broken pipe", "connection refused", "nccl",
    "timed out", "remote process exited",
)  # fmt: skip
"""What PyTorch says when a process that it waits for is gone."""


class Processes:
    """The team of all processes that were started together."""

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""
        return int(dist.get_rank())

    @property
    def size(self) -> int:
        """How many there are."""
        return int(dist.get_world_size())

    @property
    def first_here(self) -> bool:
        """Whether this is the first process of its machine."""
        return os.environ.get("LOCAL_RANK", "0") == "0"

    def gather(self, value: T) -> list[T]:
        """Exchange a value for those of all, in the order of their ranks."""
        found: list[T | None] = [None] * self.size
        with _together():
            dist.all_gather_object(found, value)
        return found  # type: ignore[return-value]

    def largest(self, number: int) -> int:
        """Exchange a number for the largest of all."""
        shared = torch.tensor(number)
        with _together():
            dist.all_reduce(shared, op=dist.ReduceOp.MAX)
        return int(shared)


@contextmanager
def _together() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if is_farewell(error):
            raise RunFailed("another process ended, and says why unless it was killed") from error
        raise


def team() -> Team:
    """Find those who train with this process."""
    joined = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
    return Processes() if joined else ALONE


def join(device: Device) -> Team:
    """Meet the other processes, where a launcher started several.

    Args:
        device: The setting `hardware.device`.

    Raises:
        ConfigError: If there are fewer GPUs than processes on this machine.
    """
    if not {"RANK", "WORLD_SIZE"} <= set(os.environ) or dist.is_initialized():
        return team()
    on_gpu = choose_device(device) == "cuda"
    if not on_gpu:
        # DeepSpeed looks when it is imported, and would take a GPU that this run does not use.
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    if on_gpu:
        place, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if place >= count:
            raise ConfigError(
                f"process {place} of this machine finds {count} GPUs and needs one of its own; "
                f"lower hardware.processes to {count}, or name more in hardware.gpus"
            )
        torch.cuda.set_device(place)
    dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo")
    if dist.get_rank() > 0:
        # All of them see the same rows and settings; one warning is enough.
        logging.getLogger("vlmtune").setLevel(logging.ERROR)
    return team()


def is_farewell(error: RuntimeError) -> bool:
    """Tell whether an exchange failed because another process had ended."""
    told = str(error).lower()
    return team().size > 1 and any(sign in told for sign in _FAREWELLS)


def leave() -> None:
    """Take leave of the others; nothing can be exchanged afterwards."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
