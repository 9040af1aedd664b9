"""What is done to a model whose weights are divided among processes.

admit(arguments)           lets accelerate use what TrainingArguments could not say
as_one_block(network)      keeps the output head with the root when FSDP2 divides
undivided(trainer)         whole weights in every process, for drawing answers
full_weights(trainer)      whole weights in the first process, for a checkpoint
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from accelerate.state import PartialState
from accelerate.utils import DistributedType


def admit(arguments: Any) -> Any:
    """Settle what transformers would decide by the machine.

    Args:
        arguments: A TRL config.

    Returns:
        The same. One process uses one GPU, however many it sees, and FSDP2 may run on CPUs.
    """
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1
    state = PartialState()
    if arguments.fsdp and state.distributed_type is DistributedType.MULTI_CPU:
        # accelerate divides weights on accelerators only; every one of them leads to the same code.
        state.distributed_type = DistributedType.MULTI_XPU
    if arguments.deepspeed:
        # DeepSpeed calls PyTorch by names that are to change; no user can mend that.
        warnings.filterwarnings("ignore", r"`torch\.distributed\.", FutureWarning)
    if arguments.deepspeed and arguments.use_cpu:
        _spare_compiling()
    return arguments


def _spare_compiling() -> None:
    """Let DeepSpeed exchange through gloo on CPUs; it would compile C++ for minutes instead."""
    from deepspeed import ops

    ops.__compatible_ops__["deepspeed_shm_comm"] = False


@contextmanager
def as_one_block(network: Any) -> Iterator[None]:
    """Hide embeddings and head from accelerate while FSDP2 divides a model.

    It would make the head a block of its own. TRL's trainers read the head's weight without calling
    it, so that such a block is never put together, and its gradient never averaged.
    """
    names = ("get_input_embeddings", "get_output_embeddings")
    for name in names:
        setattr(network, name, lambda: None)
    try:
        yield
    finally:
        for name in names:
            delattr(network, name)


@contextmanager
def undivided(trainer: Any) -> Iterator[None]:
    """Hold whole weights in every process, so that each can compute at its own pace.

    Args:
        trainer: A trainer of any engine.
    """
    if trainer.is_fsdp_enabled:
        with _put_together(trainer.model):
            yield
    elif trainer.is_deepspeed_enabled:
        from trl.models import unwrap_model_for_generation

        with unwrap_model_for_generation(trainer.model_wrapped, trainer.accelerator):
            yield
    else:
        yield


@contextmanager
def _put_together(network: Any) -> Iterator[None]:
    from torch.distributed.fsdp import FSDPModule

    blocks = [module for module in network.modules() if isinstance(module, FSDPModule)]
    # Before its first step a model has not yet decided which block is its root.
    network._get_fsdp_state()._lazy_init()
    with ExitStack() as stack:
        for block in blocks:
            block.unshard()
            stack.callback(block.reshard)
            stack.enter_context(_without_hooks(block))
        yield


@contextmanager
def _without_hooks(block: Any) -> Iterator[None]:
    """Let a block compute without gathering and letting go of its weights."""
    state = block._get_fsdp_state()
    handles = (state._pre_forward_hook_handle, state._post_forward_hook_handle)
    kept = []
    for handle in handles:
        hooks = handle.hooks_dict_ref()
        kept.append((hooks, dict(hooks)))
        hooks.pop(handle.id)
    try:
        yield
    finally:
        for hooks, before in kept:
            hooks.clear()
            hooks.update(before)


def as_reference(trainer: Any, network: Any) -> Any:
    """Put a model that is only asked, and never trained, under the trainer's engine."""
    from trl.models import prepare_deepspeed, prepare_fsdp

    if trainer.is_deepspeed_enabled:
        return prepare_deepspeed(network, trainer.accelerator)
    if trainer.is_fsdp_enabled:
        return prepare_fsdp(network, trainer.accelerator)
    return network


def full_weights(trainer: Any) -> Mapping[str, torch.Tensor] | None:
    """Collect whole weights; None where every process has them anyway.

    All processes must call this; only the first gets what it can use.
    """
    if trainer.is_fsdp_enabled:
        return once(trainer.model, trainer.accelerator.get_state_dict(trainer.model))
    if not trainer.is_deepspeed_enabled:
        return None
    engine = trainer.model_wrapped
    if engine.zero_optimization_stage() == 3:
        found = engine._zero3_consolidated_16bit_state_dict(exclude_frozen_parameters=False)
        return once(trainer.model, found or {})
    return None


def once(network: Any, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Leave out weights that are others by a second name, such as a head that is the embedding.

    Collected weights are copies, in which transformers cannot see any more that two are one.
    """
    second = set(getattr(network, "all_tied_weights_keys", None) or ())
    return {name: weight for name, weight in weights.items() if name not in second}
