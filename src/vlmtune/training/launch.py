"""Starts the processes that train together on this machine, as torchrun would, and ends them alike.

    hardware.processes: 4      python scripts/train_sft.py ...   starts four of itself
    torchrun, accelerate       have set RANK and WORLD_SIZE; then nothing is started here

A signal to this process goes to all of them, once, and they have the time that saving takes. When
one fails, the others get a moment to notice and are then ended: they would wait for it for ever.
"""

import ctypes
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import FrameType

from vlmtune.config import RunConfig
from vlmtune.errors import ConfigError

STARTED = ("RANK", "WORLD_SIZE")
"""What launchers set in each process."""
LAUNCHER = "VLMTUNE_LAUNCHER"
"""Set in processes that were started from here."""
GRACE = 20.0
"""Seconds that processes get to end by themselves after one has failed."""
_POLL = 0.1
_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of prctl."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where this process stands among those that a launcher started.

    Attributes:
        rank: Its number among all, from 0.
        processes: How many run on this machine.
        nodes: Machines.
    """

    rank: int
    processes: int
    nodes: int


def place(environment: Mapping[str, str]) -> Place | None:
    """Read what a launcher says; None where there was none.

    Raises:
        ConfigError: If it is no number, or does not add up.
    """
    if not set(STARTED) <= set(environment):
        return None
    try:
        rank, world = int(environment["RANK"]), int(environment["WORLD_SIZE"])
        here = int(environment.get("LOCAL_WORLD_SIZE", world))
    except ValueError:
        raise ConfigError(
            f"RANK {environment['RANK']!r} and WORLD_SIZE {environment['WORLD_SIZE']!r} are set, "
            "and are no numbers; unset both, or start with torchrun"
        ) from None
    if here < 1 or world % here:
        raise ConfigError(
            f"{world} processes do not divide into machines of {here}; start equally many on each"
        )
    return Place(rank=rank, processes=here, nodes=world // here)


def placed(config: RunConfig, found: Place | None) -> RunConfig:
    """Write how many processes a launcher started into a config that does not say."""
    hardware = config.hardware
    if found is None or (hardware.processes, hardware.nodes) != (1, 1):
        return config
    counted = hardware.model_copy(update={"processes": found.processes, "nodes": found.nodes})
    return config.model_copy(update={"hardware": counted})


def refuse_several(found: Place | None) -> None:
    """A rehearsal is one process, whatever the training will be.

    Raises:
        ConfigError: If a launcher started several.
    """
    if found is not None and found.processes * found.nodes > 1:
        raise ConfigError(
            f"--debug rehearses in one process, and {found.processes * found.nodes} were started; "
            "leave torchrun or accelerate launch out"
        )


def wanted(config: RunConfig, environment: Mapping[str, str]) -> int:
    """Say how many processes are to be started here; 0 if this one trains itself."""
    hardware = config.hardware
    if set(STARTED) <= set(environment) or hardware.nodes > 1:
        return 0
    # DeepSpeed wants to be started, even for one process.
    return hardware.processes if hardware.processes > 1 or hardware.deepspeed else 0


def told(config: RunConfig, *, command: Sequence[str]) -> str:
    """Say what is started, and how it could be started by hand."""
    count = config.hardware.processes
    return (
        f"{count} processes on this machine; by hand: "
        f"torchrun --nproc_per_node {count} {shlex.join(command[1:])}"
    )


def start(command: Sequence[str], count: int, *, gpus: Sequence[int] | None) -> int:
    """Start a command several times and wait for all.

    Args:
        command: Program and arguments, the same for all.
        count: How many.
        gpus: Numbers of the GPUs to use, or None for all that are visible.

    Returns:
        The exit code of the one that failed first, or 0.
    """
    shared = os.environ | {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        LAUNCHER: str(os.getpid()),
    }
    if gpus is not None:
        shared["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, gpus))
    # Libraries that compute on CPUs would take all cores in each of them.
    shared.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    running = [
        # Sessions of their own: Ctrl-C in a terminal reaches all processes of one, and they are to
        # hear it from here, once.
        subprocess.Popen(
            command,
            env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            start_new_session=True,
        )
        for rank in range(count)
    ]
    return _waited(running)


def follow(environment: Mapping[str, str]) -> None:
    """Have the kernel end this process when `start`, which started it, is killed; on Linux."""
    if LAUNCHER in environment and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGTERM)


def command(script: str, words: Sequence[str]) -> list[str]:
    """Write the command that starts this script again."""
    return [sys.executable, script, *words]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _waited(running: Sequence["subprocess.Popen[bytes]"]) -> int:
    def pass_on(number: int, frame: FrameType | None) -> None:
        """Hand a signal to the processes that still run, so that each can save."""
        for process in running:
            if process.poll() is None:
                process.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return _first_failure(running)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for process in running:
            if process.poll() is None:
                process.kill()
                process.wait()


def _first_failure(running: Sequence["subprocess.Popen[bytes]"]) -> int:
    """Wait for all, and after a failure no longer than GRACE."""
    failed, deadline = 0, float("inf")
    while any(process.poll() is None for process in running) and time.monotonic() < deadline:
        if not failed:
            failed = next((code for process in running if (code := process.poll())), 0)
            if failed:
                deadline = time.monotonic() + GRACE
        time.sleep(_POLL)
    failed = failed or next((code for process in running if (code := process.poll())), 0)
    # A process that a signal killed counts as the run's failure.
    return failed if failed >= 0 else 1
