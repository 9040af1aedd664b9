"""A loaded vision-language model and its forward passes: a prompt, one step for many rows, answers.

    loaded = load(resolve("pico", backend="pytorch"), Loading())
    loaded = adapt(loaded, Tuning(method="lora"), seed=0)        # backends/pytorch/tuning.py

The passes call the model below its head, with explicit positions and caches, because transformers'
Qwen models remember the positions of the last prompt they saw.
"""

# A axes (time, height, width), B rows, T tokens, H hidden size, V vocabulary

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

from vlmtune.backends.pytorch.cache import Layers, Prefix, expanded, to_cache
from vlmtune.backends.pytorch.choices import Loading
from vlmtune.backends.pytorch.devices import choose_device, choose_dtype
from vlmtune.backends.pytorch.inputs import PromptInputs, PromptReader, speech
from vlmtune.errors import CheckpointError, ConfigError, MissingDependency
from vlmtune.models.checkpoints import read_json
from vlmtune.models.resolve import Resolved, float_checkpoint, hub_id
from vlmtune.types import JSON, ModelFamily, ModelInfo

SCORED_POSITIONS = 512
"""Positions whose logits are held at once while scoring; bounds memory for large vocabularies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """Weights, processor and the facts that generation and training need.

    Attributes:
        network: transformers' model, or peft's around it.
        reader: Tokenizer and image processor.
        info: What was loaded.
        family: Facts about the architecture.
        end_ids: Ids that end a completion.
        suppressed: Ids that are never drawn: they stand for pixels.
        device: "cuda", "cpu" or "mps".
        held_rank: Ranks of the adapter that belong to an earlier one, and do not move.
    """

    network: Any
    reader: PromptReader
    info: ModelInfo
    family: ModelFamily
    end_ids: frozenset[int]
    suppressed: tuple[int, ...]
    device: str
    held_rank: int = 0

    @property
    def base(self) -> Any:
        """Transformers' model; adapters that are active inside it count."""
        return self.network.get_base_model() if self.is_adapted else self.network

    @property
    def is_adapted(self) -> bool:
        """Whether an adapter is attached."""
        # Not by `peft_config`: peft leaves that on the model it wraps as well.
        return hasattr(self.network, "get_base_model")

    def prefill(self, inputs: PromptInputs) -> Prefix:
        """Compute a prompt, once, whatever the number of completions."""
        return self.prefill_together([inputs])[0]

    def prefill_together(self, several: Sequence[PromptInputs]) -> list[Prefix]:
        """Compute unlike prompts in one pass.

        Shorter prompts are filled up at their end: attention is causal, so no token of theirs sees
        the filling, which is cut off again, and no mask is needed.

        Args:
            several: B prompts of any lengths, with any pictures, at least one.

        Returns:
            B prefixes, in order.
        """
        lengths = [len(inputs.ids_T) for inputs in several]
        numbered = [self.positions(inputs) for inputs in several]
        out = self.base.model(
            input_ids=_filled([inputs.ids_T for inputs in several], self.reader.pad_id).to(
                self.device
            ),
            position_ids=_filled_positions([positions for positions, _ in numbered]),
            use_cache=True,
            **self._pictures(several),
        )
        last_B = torch.tensor(lengths, device=self.device) - 1
        rows_B = torch.arange(len(several), device=self.device)
        logits_BV = self._logits(out.last_hidden_state[rows_B, last_B])
        layers = [(layer.keys, layer.values) for layer in out.past_key_values.layers]
        return [
            Prefix(_row(layers, row, length), logits_BV[row], after)
            for row, (length, (_, after)) in enumerate(zip(lengths, numbered, strict=True))
        ]

    def _pictures(self, several: Sequence[PromptInputs]) -> dict[str, torch.Tensor]:
        """Put the pictures of prompts behind each other."""
        names = dict.fromkeys(name for inputs in several for name in inputs.pictures)
        return {
            name: torch.cat(
                [inputs.pictures[name] for inputs in several if name in inputs.pictures]
            ).to(self.device)
            for name in names
        }

    def positions(self, inputs: PromptInputs) -> tuple[torch.Tensor, int]:
        """Number a prompt's tokens: [A, 1, T] or [1, T], and the number of the one that follows."""
        number = getattr(self.base.model, "get_rope_index", None)
        if number is None or not inputs.pictures:
            counted_BT = torch.arange(len(inputs.ids_T), device=self.device)[None]
            return counted_BT, len(inputs.ids_T)
        grids = {name: grid for name, grid in inputs.pictures.items() if name.endswith("grid_thw")}
        positions_A1T, _ = number(
            inputs.ids_T[None], mm_token_type_ids=inputs.token_types_T[None].int(), **grids
        )
        return positions_A1T.to(self.device), int(positions_A1T.max()) + 1

    def step(
        self,
        tokens_B: torch.Tensor,
        positions_B: torch.Tensor,
        cache: Any,
        mask_BT: torch.Tensor | None,
    ) -> torch.Tensor:
        """Feed one token per row and return the next token's logits, float32 [B, V]."""
        out = self.base.model(
            input_ids=tokens_B[:, None],
            position_ids=positions_B[:, None],
            attention_mask=mask_BT,
            past_key_values=cache,
            use_cache=True,
        )
        return self._logits(out.last_hidden_state[:, -1])

    def score(self, prefix: Prefix, targets: Sequence[Sequence[int]]) -> list[tuple[float, ...]]:
        """Compute log-probabilities of several answers to one prompt.

        Args:
            prefix: The computed prompt.
            targets: Token ids of each answer, end token included, none empty.

        Returns:
            float32 values, one for each token of each answer, at temperature 1.
        """
        width = max(len(target) for target in targets) - 1
        scores = [[_log_softmax_at(prefix.logits_V[None], target[:1])[0]] for target in targets]
        if width:
            ids_BT = torch.zeros((len(targets), width), dtype=torch.int64)
            for row, target in enumerate(targets):
                ids_BT[row, : len(target) - 1] = torch.tensor(target[:-1])
            steps_BT = torch.arange(width, device=self.device)[None] + prefix.next_position
            out = self.base.model(
                input_ids=ids_BT.to(self.device),
                position_ids=steps_BT.expand(len(targets), -1),
                past_key_values=to_cache(expanded(prefix.layers, len(targets))),
                use_cache=True,
            )
            for row, target in enumerate(targets):
                scores[row] += self._scores(out.last_hidden_state[row], target[1:])
        return [tuple(row) for row in scores]

    def _scores(self, hidden_TH: torch.Tensor, target: Sequence[int]) -> list[float]:
        scores: list[float] = []
        for start in range(0, len(target), SCORED_POSITIONS):
            part = target[start : start + SCORED_POSITIONS]
            scores += _log_softmax_at(self._logits(hidden_TH[start : start + len(part)]), part)
        return scores

    def _logits(self, hidden_BH: torch.Tensor) -> torch.Tensor:
        logits_BV: torch.Tensor = self.base.get_output_embeddings()(hidden_BH).float()
        return logits_BV


def _filled(ids: Sequence[torch.Tensor], pad_id: int) -> torch.Tensor:
    """Put token ids side by side, int64 [B, T]."""
    return pad_sequence(list(ids), batch_first=True, padding_value=pad_id)


def _filled_positions(several: Sequence[torch.Tensor]) -> torch.Tensor:
    """Put numbers of tokens side by side, [A, B, T] or [B, T]; all have the most axes of any."""
    axes = max(positions.ndim for positions in several)
    if axes == 2:
        return pad_sequence([positions[0] for positions in several], batch_first=True)
    count = max(positions.shape[0] for positions in several if positions.ndim == axes)
    rows = [positions.expand(count, 1, -1)[:, 0].T for positions in several]
    return pad_sequence(rows, batch_first=True).permute(2, 0, 1)


def _row(layers: Layers, row: int, length: int) -> Layers:
    """Cut one prompt's keys and values out of a pass."""
    return [
        (keys[row : row + 1, :, :length], values[row : row + 1, :, :length])
        for keys, values in layers
    ]


def _log_softmax_at(logits_TV: torch.Tensor, ids: Sequence[int]) -> list[float]:
    chosen_T1 = torch.tensor(list(ids), device=logits_TV.device)[:, None]
    values_T = logits_TV.gather(1, chosen_T1)[:, 0] - logits_TV.logsumexp(-1)
    return [float(value) for value in values_T.cpu()]


def load(resolved: Resolved, loading: Loading) -> LoadedModel:
    """Load a checked local folder, ready to generate.

    Raises:
        CheckpointError: If the weights do not fit the config, a file is damaged, or the folder was
            quantised for MLX.
        MissingDependency: If 4-bit weights are asked for without bitsandbytes.
        BackendUnavailable: If the device or number format does not exist here.
    """
    import transformers

    # A bar that counts tensors says nothing to people, and would cross the run's own.
    transformers.utils.logging.disable_progress_bar()
    folder = Path(resolved.location)
    config = read_json(folder / "config.json")
    _refuse_mlx_weights(folder, config)
    family = resolved.family
    assert family is not None  # `fetch` reads the family of whatever lies in a folder
    device = choose_device(loading.device)
    dtype = choose_dtype(loading.dtype, device=device)
    quantised = (
        {}
        if loading.quantization == "none"
        else {
            "quantization_config": _fewer_bits(loading.quantization, family, dtype),
            "device_map": {"": torch.cuda.current_device() if device == "cuda" else device},
        }
    )
    try:
        processor = load_processor(folder, str(config["model_type"]))
        network = transformers.AutoModelForImageTextToText.from_pretrained(
            folder,
            dtype=dtype,
            attn_implementation="sdpa" if loading.attention == "auto" else loading.attention,
            **quantised,
        )
    except ImportError as error:
        raise MissingDependency(
            f"{str(error).strip().splitlines()[0]}; install vlmtune[cuda], or set the attention "
            "kernel to sdpa"
        ) from error
    except (ValueError, KeyError, TypeError, OSError, RuntimeError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise CheckpointError(
            f"model folder {folder} cannot be loaded: {reason[0]}; copy or download it again"
        ) from error
    _bound_pictures(processor.image_processor, loading)
    if loading.quantization == "none" and not loading.waits:
        network.to(device)
    network.eval()
    return _described(resolved, family, network, processor, device=device)


def load_processor(folder: Path, model_type: str) -> Any:
    """Load transformers' own processor, with pictures resized by PIL.

    Not through AutoProcessor: importing mlx-vlm replaces it for the whole process, by one that
    returns MLX arrays.
    """
    import transformers
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

    processor = getattr(transformers, PROCESSOR_MAPPING_NAMES[model_type]).from_pretrained(folder)
    processor.image_processor = transformers.AutoImageProcessor.from_pretrained(
        folder, backend="pil"
    )
    return processor


def _refuse_mlx_weights(folder: Path, config: dict[str, JSON]) -> None:
    packed = config.get("quantization")
    if isinstance(packed, dict) and "group_size" in packed:
        floats = float_checkpoint(folder.name, folder) or "the float checkpoint it was made from"
        raise CheckpointError(
            f"model folder {folder} holds {packed.get('bits')}-bit weights in MLX's format, which "
            f"PyTorch cannot read; take {floats}, with model.quantization: 4bit where memory is "
            "short"
        )


def _bound_pictures(image_processor: Any, loading: Loading) -> None:
    """Replace the model's own bounds on the number of pixels.

    Raises:
        ConfigError: If this model's processor knows no such bounds, or they contradict each other.
    """
    wanted = {"shortest_edge": loading.min_pixels, "longest_edge": loading.max_pixels}
    wanted = {name: pixels for name, pixels in wanted.items() if pixels is not None}
    if not wanted:
        return
    size = dict(image_processor.size)
    if not {"shortest_edge", "longest_edge"} <= set(size) or not hasattr(
        image_processor, "merge_size"
    ):
        raise ConfigError(
            "model.min_pixels and model.max_pixels cannot be used: this model's pictures have "
            "fixed sizes; leave both out"
        )
    size |= wanted
    if size["shortest_edge"] > size["longest_edge"]:
        raise ConfigError(
            f"model.min_pixels {size['shortest_edge']} is more than model.max_pixels "
            f"{size['longest_edge']}; the model's own bounds count where one is not set"
        )
    image_processor.size = type(image_processor.size)(**size)


def _fewer_bits(quantization: str, family: ModelFamily, dtype: torch.dtype) -> Any:
    import importlib.util

    import transformers

    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingDependency(
            f"model.quantization: {quantization} needs bitsandbytes; install vlmtune[cuda], or set "
            "it to none"
        )
    # The vision tower is small and its errors reach every token, so it keeps its precision. Full
    # names: transformers matches from the start, and would quantise what "visual" was to spare.
    apart = [family.vision_module, family.projector_module, "lm_head"]
    if quantization == "8bit":
        return transformers.BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=apart)
    return transformers.BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=apart,
    )


def _described(
    resolved: Resolved, family: ModelFamily, network: Any, processor: Any, *, device: str
) -> LoadedModel:
    tokenizer = processor.tokenizer
    if not (processor.chat_template or tokenizer.chat_template):
        raise CheckpointError(
            f"model folder {resolved.location} has no chat template; copy it again"
        )
    spoken = speech(processor, network.config, network.generation_config, family=family)
    info = ModelInfo(
        name=resolved.name,
        path=str(resolved.location),
        parameters=network.num_parameters(),
        architecture=str(network.config.model_type),
    )
    # peft writes this into adapters; a hub id means something on other machines, a path does not.
    network.name_or_path = hub_id(Path(resolved.location)) or str(resolved.location)
    return LoadedModel(
        network=network,
        reader=spoken.reader,
        info=info,
        family=family,
        end_ids=spoken.end_ids,
        suppressed=spoken.suppressed,
        device=device,
    )
