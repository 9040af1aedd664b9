"""Score the answers of a group with their prompt computed once, pictures and all.

How answers lie behind their prompt stands in `backends/packing.py`. Values and gradients are those
of one row per answer, up to rounding; a prompt with a picture costs more than all its answers, so a
group of eight is several times faster.
"""

# R packed rows, B answers, T packed tokens, C tokens of the longest answer, A axes of a position

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from vlmtune.backends import packing
from vlmtune.backends.pytorch.collate import concatenated
from vlmtune.backends.pytorch.inputs import PromptInputs
from vlmtune.backends.pytorch.model import LoadedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """Answers behind their prompts.

    Attributes:
        inputs: Arguments of the network.
        labels_RT: The token that each place predicts, or `packing.IGNORED`.
        rows_B: Packed row of each answer.
        starts_B: Place there that predicts the answer's first token.
    """

    inputs: Mapping[str, Any]
    labels_RT: torch.Tensor
    rows_B: tuple[int, ...]
    starts_B: tuple[int, ...]

    def unpack(self, values_RT: torch.Tensor, lengths_B: Sequence[int], width: int) -> torch.Tensor:
        """Lay values of places out by answer, [B, C]; 0 behind an answer's end."""
        steps_C = torch.arange(width, device=values_RT.device)
        starts_B1 = torch.tensor(self.starts_B, device=values_RT.device)[:, None]
        lengths_B1 = torch.tensor(list(lengths_B), device=values_RT.device)[:, None]
        inside_BC = steps_C < lengths_B1
        rows_B1 = torch.tensor(self.rows_B, device=values_RT.device)[:, None]
        # Multiplied and not filled: even without any answer the result depends on the weights.
        found_BC = values_RT[rows_B1, ((starts_B1 + steps_C) * inside_BC)]
        return found_BC * inside_BC.to(values_RT.dtype)


def can_pack(loaded: LoadedModel) -> bool:
    """Tell whether the network takes a mask of ours: full attention, by a kernel that reads masks.

    Where it does not, every answer gets a row of its own, which needs no mask.
    """
    text = loaded.base.config.get_text_config()
    kinds = set(getattr(text, "layer_types", None) or ["full_attention"])
    reads_masks = loaded.base.config._attn_implementation in ("sdpa", "eager")
    return reads_masks and kinds == {"full_attention"}


def pack(
    loaded: LoadedModel,
    prompts: Mapping[int, PromptInputs],
    asked_B: Sequence[int],
    answers: Sequence[Sequence[int]],
    *,
    together: bool = True,
) -> Packed:
    """Write answers behind their prompts.

    Args:
        loaded: The model.
        prompts: What was asked, by key.
        asked_B: Key of each answer's prompt.
        answers: Token ids; an empty answer takes part without being scored.
        together: Answers to one prompt share a row; else each has its own.
    """
    packed = packing.pack(
        {key: _numbered(loaded, prompts[key]) for key in dict.fromkeys(asked_B)},
        asked_B,
        answers,
        filling=loaded.reader.pad_id,
        together=together,
    )
    positions_ART = torch.from_numpy(packed.positions_ART)
    pictures = concatenated([prompts[key] for key in packed.prompts_R])
    inputs = {
        "input_ids": torch.from_numpy(packed.ids_RT).to(loaded.device),
        "attention_mask": _mask(packed, loaded, together=together).to(loaded.device),
        "position_ids": (positions_ART if len(positions_ART) > 1 else positions_ART[0]).to(
            loaded.device
        ),
        **{name: value.to(loaded.device) for name, value in pictures.items()},
    }
    return Packed(
        inputs=inputs,
        labels_RT=torch.from_numpy(packed.labels_RT).to(loaded.device),
        rows_B=packed.rows_B,
        starts_B=packed.starts_B,
    )


def _numbered(loaded: LoadedModel, prompt: PromptInputs) -> packing.Numbered:
    positions_A1P, after = loaded.positions(prompt)
    return packing.Numbered(
        ids_P=prompt.ids_T.cpu().numpy(),
        positions_AP=positions_A1P.reshape(-1, len(prompt.ids_T)).cpu().numpy(),
        after=after,
    )


def _mask(packed: packing.Packing, loaded: LoadedModel, *, together: bool) -> torch.Tensor:
    """Say what each place may see, in the form that the network's attention reads."""
    if not together:
        return torch.from_numpy(packed.blocks_RT >= 0).to(torch.int64)
    sees_R1TT = torch.from_numpy(packed.sees_RTT())[:, None]
    if loaded.base.config._attn_implementation == "sdpa":
        return sees_R1TT
    dtype = loaded.base.dtype
    hidden_R1TT = torch.zeros(sees_R1TT.shape, dtype=dtype)
    return hidden_R1TT.masked_fill(~sees_R1TT, torch.finfo(dtype).min)
