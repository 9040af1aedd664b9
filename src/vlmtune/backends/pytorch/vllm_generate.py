"""The `Generator` over vLLM's offline engine: pictures, groups, adapters, scores.

Prompts go in as token ids with one placeholder for each picture, and vLLM repeats it; what it made
of them is compared with what a trainer reads, prompt by prompt. Pictures are brought to their final
size here, with PIL, because vLLM's own resizing gives other pixels.
"""

# P prompts, G completions per prompt

import hashlib
import importlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image

from vlmtune.backends.distinct import distinct_prompts
from vlmtune.backends.noise import noise
from vlmtune.backends.pytorch.devices import choose_device, choose_dtype
from vlmtune.backends.pytorch.inputs import Speech, speech
from vlmtune.backends.pytorch.model import load_processor
from vlmtune.backends.pytorch.vllm_draw import ROW
from vlmtune.backends.pytorch.vllm_engine import Engine, Serving, adapter_rank, start
from vlmtune.errors import DataError, RunFailed
from vlmtune.models.resolve import Resolved
from vlmtune.types import Completion, Encoded, Finish, ModelInfo, Prompt, Sampling

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A prompt as vLLM takes it.

    Attributes:
        name: Its example, for messages.
        short_ids: Token ids with one placeholder for each picture.
        ids: Token ids as a trainer reads them, which vLLM must arrive at.
        pictures: In their final size.
        digests: What names each picture in vLLM's cache.
    """

    name: str
    short_ids: tuple[int, ...]
    ids: tuple[int, ...]
    pictures: tuple[PIL.Image.Image, ...]
    digests: tuple[str, ...]

    def followed_by(self, target_ids: Sequence[int]) -> "_Asked":
        """Put an answer behind it."""
        return replace(self, short_ids=(*self.short_ids, *target_ids), ids=(*self.ids, *target_ids))

    def request(self) -> dict[str, Any]:
        """Write it as vLLM's prompt."""
        text = {"prompt_token_ids": list(self.short_ids)}
        if not self.pictures:
            return text
        return text | {
            "multi_modal_data": {"image": list(self.pictures)},
            "multi_modal_uuids": {"image": list(self.digests)},
        }


class VllmGenerator:
    """Draws and scores with vLLM.

    Attributes:
        model: What was loaded.
    """

    def __init__(self, engine: Engine, speech: Speech, model: ModelInfo) -> None:
        self.model = model
        self._engine = engine
        self._speech = speech

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        *,
        progress: Progress | None = None,
    ) -> list[list[Completion]]:
        """Draw completions, [P][G], in the order of `prompts`.

        The same draws as on the other backends, up to the rounding of logits.

        Args:
            prompts: P prompts.
            sampling: How to draw; at temperature 0 each prompt is decoded once and copied.
            progress: Called with the number of completions finished since the last call.

        Raises:
            DataError: If an image cannot be opened, or a prompt is longer than the model reads.
            RunFailed: If vLLM reads a prompt otherwise than a trainer does.
        """
        started = time.perf_counter()
        copies = 1 if sampling.temperature > 0 else sampling.samples
        samples = sampling.samples // copies
        rows = [(prompt, sample) for prompt in prompts for sample in range(samples)]
        self._engine.ledger.open(sampling, [_uniform(*row, sampling) for row in rows])
        asked = self._asked(prompts)
        settings = [self._settings(row, sampling.max_tokens) for row in range(len(rows))]
        outputs = self._run(
            [one for one in asked for _ in range(samples)],
            settings,
            progress=None if progress is None else lambda done: progress(done * copies),
        )
        answers = [output.outputs[0] for output in outputs]
        logprobs = self._engine.ledger.logprobs([len(answer.token_ids) for answer in answers])
        seconds = (time.perf_counter() - started) / max(1, len(prompts) * sampling.samples)
        found = [
            self._completion(answer, scores, seconds)
            for answer, scores in zip(answers, logprobs, strict=True)
        ]
        groups = [found[start : start + samples] for start in range(0, len(found), samples)]
        return [group * copies for group in groups]

    def encode(self, prompt: Prompt, target: str) -> Encoded:
        """Tokenise a prompt and a target answer as training would, without cutting anything."""
        return self._speech.reader.encode(prompt, target)

    def score(self, prompts: Sequence[Prompt], targets: Sequence[str]) -> list[tuple[float, ...]]:
        """Log-probability of every target token at temperature 1, [P][T_p].

        vLLM reads prompt and target as one prompt and says how likely each of its tokens was; one
        more token is drawn, since it cannot draw none, and is not looked at.
        """
        import vllm

        targets_ids = [self._speech.reader.target_ids(target) for target in targets]
        asked = [
            one.followed_by(ids) for one, ids in zip(self._asked(prompts), targets_ids, strict=True)
        ]
        settings = vllm.SamplingParams(
            temperature=0, max_tokens=1, prompt_logprobs=0, detokenize=False
        )
        outputs = self._run(asked, [settings] * len(asked))
        return [
            tuple(
                float(known[token].logprob)
                for known, token in zip(output.prompt_logprobs[-len(ids) :], ids, strict=True)
            )
            for output, ids in zip(outputs, targets_ids, strict=True)
        ]

    def _asked(self, prompts: Sequence[Prompt]) -> list[_Asked]:
        """Read prompts the way vLLM takes them; equal ones are read once."""
        reader = self._speech.reader
        found: dict[int, _Asked] = {}
        for prompt, places in distinct_prompts(prompts):
            pictures = [
                final_size(picture, reader.processor.image_processor)
                for picture in reader.pictures(prompt)
            ]
            asked = _Asked(
                name=prompt.example_id,
                short_ids=tuple(reader.short_ids(prompt)),
                ids=tuple(reader.read(prompt).ids_T.tolist()),
                pictures=tuple(pictures),
                digests=tuple(map(_digest, pictures)),
            )
            found |= dict.fromkeys(places, asked)
        return [found[place] for place in range(len(prompts))]

    def _settings(self, row: int, max_tokens: int) -> Any:
        import vllm

        # The row's token is the only one left when vLLM looks, so the likeliest is the drawn one.
        return vllm.SamplingParams(
            temperature=0,
            max_tokens=max_tokens,
            stop_token_ids=sorted(self._speech.end_ids),
            extra_args={ROW: row},
            detokenize=False,
            skip_clone=True,
        )

    def _run(
        self,
        asked: Sequence[_Asked],
        settings: Sequence[Any],
        *,
        progress: Progress | None = None,
    ) -> list[Any]:
        """Ask everything and wait; the answers in the order of the questions."""
        llm = self._engine.llm
        requests: list[str] = []
        outputs: list[Any] = []
        try:
            for one, setting in zip(asked, settings, strict=True):
                requests += self._enqueued(one, setting)
            for output in self._finished():
                outputs.append(output)
                if progress is not None:
                    progress(1)
        except BaseException:
            # Whatever stopped us, Ctrl-C too: the next call must not meet these requests again.
            llm.llm_engine.abort_request(requests, internal=True)
            raise
        # vLLM numbers requests as they come, and answers as they end.
        outputs.sort(key=lambda output: int(output.request_id))
        for one, output in zip(asked, outputs, strict=True):
            if tuple(output.prompt_token_ids) != one.ids:
                raise RunFailed(
                    f"vLLM reads {one.name} as {len(output.prompt_token_ids)} tokens and a trainer "
                    f"as {len(one.ids)}, not the same ones; set hardware.use_vllm: false for this "
                    "model"
                )
        return outputs

    def _enqueued(self, asked: _Asked, setting: Any) -> list[str]:
        from vllm.exceptions import VLLMError

        try:
            requests: list[str] = self._engine.llm.enqueue(
                [asked.request()], [setting], lora_request=self._engine.adapter, use_tqdm=False
            )
        except (VLLMError, ValueError) as error:
            reason = (str(error).strip().splitlines() or [""])[0]
            raise DataError(f"vLLM does not take {asked.name}: {reason}") from error
        return requests

    def _finished(self) -> Iterator[Any]:
        engine = self._engine.llm.llm_engine
        while engine.has_unfinished_requests():
            yield from (output for output in engine.step() if output.finished)

    def _completion(self, answer: Any, logprobs: tuple[float, ...], seconds: float) -> Completion:
        ids = tuple(answer.token_ids)
        return Completion(
            text=self._speech.reader.text(ids),
            token_ids=ids,
            logprobs=logprobs,
            finish=Finish.STOP if ids[-1] in self._speech.end_ids else Finish.LENGTH,
            seconds=seconds,
        )


def load(
    resolved: Resolved,
    *,
    batch_rows: int = 64,
    adapter: Path | None = None,
    memory_share: float = 0.9,
) -> VllmGenerator:
    """Start vLLM with a checked local folder, ready to generate.

    Args:
        resolved: The model.
        batch_rows: Completions decoded side by side.
        adapter: Folder of an adapter to put on it, in peft's layout.
        memory_share: Share of a GPU's memory that vLLM takes.

    Raises:
        CheckpointError: If the adapter is one that vLLM does not serve.
        BackendUnavailable: If vLLM cannot start.
    """
    import transformers

    folder, family = Path(resolved.location), resolved.family
    assert family is not None  # `fetch` reads the family of whatever lies in a folder
    config = transformers.AutoConfig.from_pretrained(folder)
    spoken = speech(
        load_processor(folder, str(config.model_type)),
        config,
        generation_config(folder),
        family=family,
    )
    rank = None if adapter is None else adapter_rank(adapter)
    device = choose_device()
    serving = Serving(
        folder=folder,
        suppressed=spoken.suppressed,
        dtype=str(choose_dtype(device=device)).rpartition(".")[2],
        device=device,
        rows=batch_rows,
        memory_share=memory_share,
        rank=rank,
    )
    engine = start(serving)
    if adapter is not None:
        engine.adopt(adapter)
    info = ModelInfo(
        name=resolved.name,
        path=str(folder),
        parameters=count_weights(folder),
        architecture=str(config.model_type),
        adapter="" if adapter is None else str(adapter),
    )
    return VllmGenerator(engine, spoken, info)


def generation_config(folder: Path) -> Any:
    """Read a folder's settings of generation, or make those that its model's config implies."""
    import transformers

    if (folder / "generation_config.json").is_file():
        return transformers.GenerationConfig.from_pretrained(folder)
    return transformers.GenerationConfig.from_model_config(
        transformers.AutoConfig.from_pretrained(folder)
    )


def count_weights(folder: Path) -> int:
    """Count a folder's weights by the headers of its files."""
    import safetensors

    total = 0
    for path in sorted(folder.glob("*.safetensors")):
        with safetensors.safe_open(path, framework="np") as tensors:
            shapes = [tensors.get_slice(name).get_shape() for name in tensors.keys()]  # noqa: SIM118
        total += sum(math.prod(shape) for shape in shapes)
    return total


def final_size(picture: PIL.Image.Image, image_processor: Any) -> PIL.Image.Image:
    """Resize a picture to what its processor would make of it, so that nothing is left to resize.

    Only processors with a bound on the number of pixels keep a size that is final; pictures of
    others come back as they are, and vLLM resizes them its own way.
    """
    size = dict(image_processor.size)
    rule = getattr(importlib.import_module(type(image_processor).__module__), "smart_resize", None)
    if rule is None or not {"shortest_edge", "longest_edge"} <= set(size):
        return picture
    height, width = rule(
        picture.height,
        picture.width,
        factor=image_processor.patch_size * image_processor.merge_size,
        min_pixels=size["shortest_edge"],
        max_pixels=size["longest_edge"],
    )
    if (width, height) == picture.size:
        return picture
    return picture.resize((width, height), resample=image_processor.resample)


def _digest(picture: PIL.Image.Image) -> str:
    return hashlib.sha256(repr(picture.size).encode() + picture.tobytes()).hexdigest()


def _uniform(prompt: Prompt, sample: int, sampling: Sampling) -> npt.NDArray[np.float32]:
    return noise(
        seed=sampling.seed,
        example_id=prompt.example_id,
        sample=sample,
        count=sampling.max_tokens,
    )
