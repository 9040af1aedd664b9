"""A loaded Qwen2.5-VL and its three forward passes: prompts, one step for many rows, and answers.

The passes call the network's own layers with explicit positions, masks and caches, because the
bookkeeping inside mlx-vlm's language model remembers the last prompt it saw.
"""

# A axes (time, height, width), B rows, T tokens, H hidden size, V vocabulary

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx_vlm.utils
import numpy as np
import numpy.typing as npt
from mlx.utils import tree_flatten

from vlmtune.backends.mlx import formats
from vlmtune.backends.mlx.cache import LayerCache, Prefix
from vlmtune.backends.mlx.inputs import PromptInputs, PromptReader
from vlmtune.backends.mlx.loading import Loading
from vlmtune.backends.mlx.log_softmax import log_probabilities
from vlmtune.backends.mlx.packs import shared_head, side_by_side
from vlmtune.backends.mlx.positions import mrope_positions
from vlmtune.backends.packing import Numbered
from vlmtune.errors import CheckpointError
from vlmtune.models.checkpoints import flattened_folder, read_json
from vlmtune.models.resolve import Resolved
from vlmtune.types import JSON, ModelInfo

SCORED_POSITIONS = 512
"""Positions whose logits are held at once while scoring; bounds memory for large vocabularies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """Weights, tokenizer and the facts that generation needs.

    Attributes:
        network: mlx-vlm's model.
        reader: Tokenizer and image processor.
        info: What was loaded.
        end_ids: Ids that end a completion.
        suppressed: Ids that are never drawn: they stand for pixels.
    """

    network: Any
    reader: PromptReader
    info: ModelInfo
    end_ids: frozenset[int]
    suppressed: tuple[int, ...]

    def prefill(self, inputs: PromptInputs) -> Prefix:
        """Compute a prompt, once, whatever the number of completions."""
        return self.prefill_together([inputs])[0]

    def prefill_together(self, several: Sequence[PromptInputs]) -> list[Prefix]:
        """Compute unlike prompts in one pass of the vision tower and one of the language model.

        Shorter prompts are filled up at their end: attention is causal, so no token of theirs sees
        the filling, which is cut off again. What all begin with is computed once.

        Args:
            several: B prompts of any lengths, with any pictures, at least one.

        Returns:
            B prefixes, in order; the work has begun and need not be finished.
        """
        ids_BT, lengths_B = side_by_side([inputs.ids_T for inputs in several])
        positions_ABT, next_B = self._positions(several, width=ids_BT.shape[1])
        embeddings_BTH = self.embed(several, ids_BT, lengths_B)
        layers = [LayerCache() for _ in self.text.layers]
        head = shared_head(several, image_token_id=self.reader.image_token_id)
        if head:
            positions_A1T = positions_ABT[:, :1, :head]
            self._read(embeddings_BTH[:1, :head], positions_A1T, layers)
            layers = [layer.rows(len(several)) for layer in layers]
        hidden_BTH = self._read(embeddings_BTH[:, head:], positions_ABT[:, :, head:], layers)
        last_B = mx.array(lengths_B - head - 1)
        logits_BV = self.logits(hidden_BTH[mx.arange(len(several)), last_B])
        prefixes = [
            Prefix([layer.row(row, length=length) for layer in layers], logits_BV[row], after)
            for row, (length, after) in enumerate(zip(lengths_B.tolist(), next_B, strict=True))
        ]
        # Not waited for: the next prompts' pictures are opened meanwhile.
        mx.async_eval(logits_BV, [(layer.keys, layer.values) for layer in layers])  # type: ignore[no-untyped-call]
        return prefixes

    def step(
        self,
        tokens_B: mx.array,
        positions_B: npt.NDArray[np.int32],
        layers: list[LayerCache],
        mask: mx.array | None,
    ) -> mx.array:
        """Feed one token per row and return the next token's logits, float32 [B, V]."""
        rows = len(positions_B)
        positions_ABT = mx.broadcast_to(mx.array(positions_B)[None, :, None], (3, rows, 1))
        hidden_BTH = self.text(
            tokens_B[:, None], mask=mask, cache=layers, position_ids=positions_ABT
        )
        return self.logits(hidden_BTH[:, 0])

    def score(self, prefix: Prefix, targets: Sequence[Sequence[int]]) -> list[tuple[float, ...]]:
        """Compute log-probabilities of several answers to one prompt.

        Args:
            prefix: The computed prompt.
            targets: Token ids of each answer, end token included, none empty.

        Returns:
            float32 values, one for each token of each answer, at temperature 1.
        """
        width = max(len(target) for target in targets) - 1
        ids_BT = np.zeros((len(targets), width), dtype=np.int32)
        for row, target in enumerate(targets):
            ids_BT[row, : len(target) - 1] = target[:-1]
        scores = [[_log_softmax_at(prefix.logits_V[None], target[:1])[0]] for target in targets]
        if width:
            hidden_BTH = self._answer_states(prefix, ids_BT)
            for row, target in enumerate(targets):
                scores[row] += self._scores(hidden_BTH[row], target[1:])
        return [tuple(row) for row in scores]

    def _answer_states(self, prefix: Prefix, ids_BT: npt.NDArray[np.int32]) -> mx.array:
        rows, width = ids_BT.shape
        steps_T = np.arange(width)
        seen = np.arange(prefix.length + width)[None, :] <= steps_T[:, None] + prefix.length
        positions_T = mx.array((prefix.next_position + steps_T).astype(np.int32))
        hidden_BTH: mx.array = self.text(
            mx.array(ids_BT),
            mask=mx.array(seen)[None, None],
            cache=[layer.rows(rows) for layer in prefix.layers],
            position_ids=mx.broadcast_to(positions_T, (3, rows, width)),
        )
        mx.eval(hidden_BTH)
        return hidden_BTH

    def _scores(self, hidden_TH: mx.array, target: Sequence[int]) -> list[float]:
        scores: list[float] = []
        for start in range(0, len(target), SCORED_POSITIONS):
            part = target[start : start + SCORED_POSITIONS]
            logits_TV = self.logits(hidden_TH[start : start + len(part)])
            scores += _log_softmax_at(logits_TV, part)
        return scores

    @property
    def text(self) -> Any:
        """The language model without its head: embeddings to hidden states."""
        return self.network.language_model.model

    @property
    def head(self) -> Any:
        """The module whose weights turn hidden states into logits."""
        language = self.network.language_model
        tied = language.args.tie_word_embeddings
        return language.model.embed_tokens if tied else language.lm_head

    def logits(self, hidden_BH: mx.array) -> mx.array:
        """Turn hidden states into logits, float32 [..., V]."""
        head = self.head
        logits_BV: mx.array = getattr(head, "as_linear", head)(hidden_BH).astype(mx.float32)
        return logits_BV

    def _read(
        self,
        embeddings_BTH: mx.array,
        positions_ABT: npt.NDArray[np.int32],
        layers: list[LayerCache],
    ) -> mx.array:
        """Run prompts, or the rest of them, through the language model, which fills `layers`."""
        hidden_BTH: mx.array = self.text(
            None,
            inputs_embeds=embeddings_BTH,
            mask="causal",
            cache=layers,
            position_ids=mx.array(positions_ABT),
        )
        return hidden_BTH

    def _positions(
        self, several: Sequence[PromptInputs], *, width: int
    ) -> tuple[npt.NDArray[np.int32], list[int]]:
        positions_ABT = np.zeros((3, len(several), width), dtype=np.int32)
        next_B = []
        for row, inputs in enumerate(several):
            numbered = self.numbered(inputs)
            positions_ABT[:, row, : len(inputs.ids_T)] = numbered.positions_AP
            next_B.append(numbered.after)
        return positions_ABT, next_B

    def numbered(self, inputs: PromptInputs) -> Numbered:
        """Say where a prompt's tokens stand."""
        positions_AP, after = mrope_positions(
            inputs.ids_T,
            inputs.grids_N3,
            image_token_id=self.reader.image_token_id,
            merge_size=self.reader.image_processor.merge_size,
        )
        return Numbered(
            ids_P=inputs.ids_T.astype(np.int64),
            positions_AP=positions_AP.astype(np.int64),
            after=after,
        )

    def embed(
        self,
        several: Sequence[PromptInputs],
        ids_BT: npt.NDArray[np.int32],
        lengths_B: npt.NDArray[np.int64],
    ) -> mx.array:
        """Embed tokens, and pictures in the places of their placeholders, [B, T, H].

        Args:
            several: The prompt that each row begins with.
            ids_BT: Token ids.
            lengths_B: Tokens of those prompts; placeholders behind them stand for nothing.
        """
        embeddings_BTH: mx.array = self.text.embed_tokens(mx.array(ids_BT))
        pictured = [inputs for inputs in several if inputs.pixels is not None]
        if not pictured:
            return embeddings_BTH
        tower = self.network.vision_tower
        pixels = mx.array(np.concatenate([inputs.pixels for inputs in pictured]))
        grids_N3 = mx.array(np.concatenate([inputs.grids_N3 for inputs in pictured]))
        features = tower(pixels.astype(tower.patch_embed.proj.weight.dtype), grids_N3)
        inside_BT = np.arange(ids_BT.shape[1]) < lengths_B[:, None]
        where = np.flatnonzero((ids_BT == self.reader.image_token_id) & inside_BT)
        flat_NH = embeddings_BTH.reshape(ids_BT.size, -1)
        flat_NH[mx.array(where)] = features.astype(flat_NH.dtype)
        return flat_NH.reshape(embeddings_BTH.shape)


def _log_softmax_at(logits_TV: mx.array, ids: Sequence[int]) -> list[float]:
    found_T = log_probabilities(logits_TV, mx.array(list(ids), dtype=mx.int32))
    return [float(value) for value in np.asarray(found_T)]


def load(resolved: Resolved, loading: Loading | None = None) -> LoadedModel:
    """Load a checked local folder.

    Args:
        resolved: Where it lies.
        loading: In which format its numbers are kept, and bounds of its pictures; None leaves both.

    Raises:
        CheckpointError: If the weights do not fit the config or a file is damaged.
        ConfigError: If they cannot be kept in the format, or the bounds contradict each other.
    """
    loading = Loading() if loading is None else loading
    folder = Path(resolved.location)
    try:
        with flattened_folder(folder) as flat:
            network = mlx_vlm.utils.load_model(flat)
        processor = mlx_vlm.utils.load_processor(
            folder, add_detokenizer=False, trust_remote_code=False
        )
    except (ValueError, KeyError, TypeError, OSError, RuntimeError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise CheckpointError(
            f"model folder {folder} cannot be loaded: {reason[0]}; copy or download it again"
        ) from error
    if mx.metal.is_available():
        # Weights and caches stay in memory: a model that is too large then fails, it never pages.
        working_set = int(mx.device_info()["max_recommended_working_set_size"])
        mx.set_wired_limit(working_set)
        mx.set_memory_limit(working_set)
    formats.store(network, loading, folder=folder)
    formats.bound_pictures(processor.image_processor, loading)
    network.eval()
    return _described(resolved, folder, network, processor)


def _described(resolved: Resolved, folder: Path, network: Any, processor: Any) -> LoadedModel:
    config = read_json(folder / "config.json")
    tokenizer = processor.tokenizer
    if not tokenizer.chat_template:
        raise CheckpointError(f"model folder {folder} has no chat template; copy it again")
    reader = PromptReader(
        tokenizer=tokenizer,
        image_processor=processor.image_processor,
        image_token_id=network.config.image_token_id,
        end_id=int(tokenizer.eos_token_id),
    )
    info = ModelInfo(
        name=resolved.name,
        path=str(folder),
        parameters=count_parameters(network),
        architecture=str(config["model_type"]),
    )
    return LoadedModel(
        network=network,
        reader=reader,
        info=info,
        end_ids=_end_ids(folder, config, reader),
        suppressed=_suppressed(resolved, network, tokenizer),
    )


def count_parameters(network: Any) -> int:
    """Count weights as if none were packed: a quantised layer holds several in each integer."""
    packed = {
        f"{name}.weight": 32 // module.bits
        for name, module in network.named_modules()
        if hasattr(module, "bits")
    }
    layers = {name.rpartition(".")[0] for name in packed}
    weights: dict[str, mx.array] = dict(tree_flatten(network.parameters()))
    return sum(
        weight.size * packed.get(name, 1)
        for name, weight in weights.items()
        if name.rpartition(".")[0] not in layers or not name.endswith((".scales", ".biases"))
    )


def _end_ids(folder: Path, config: dict[str, JSON], reader: PromptReader) -> frozenset[int]:
    generation = folder / "generation_config.json"
    sources = [config, config.get("text_config", {})]
    sources += [read_json(generation)] if generation.is_file() else []
    ids = {reader.end_id}
    for source in sources:
        value = source.get("eos_token_id")
        ids |= set(value if isinstance(value, list) else [] if value is None else [value])
    return frozenset(ids)


def _suppressed(resolved: Resolved, network: Any, tokenizer: Any) -> tuple[int, ...]:
    config = network.config
    ids = {config.image_token_id, config.video_token_id, config.vision_start_token_id}
    vocabulary = tokenizer.get_vocab()
    names = resolved.family.never_sampled if resolved.family else ()
    ids |= {vocabulary[name] for name in names if name in vocabulary}
    return tuple(sorted(ids))
