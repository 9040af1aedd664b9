"""From a Prompt to tensors: chat template, image tokens, patches, with transformers' processor.

Pictures go through the processor's PIL path and not its torchvision path: both resize, but only
PIL's pixels are the same on every backend and every machine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import PIL.Image
import torch

from vlmtune.errors import DataError
from vlmtune.types import Encoded, ModelFamily, Prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptInputs:
    """What the network reads.

    Attributes:
        ids_T: Prompt up to and including the assistant's header, int64 [T].
        pictures: What the processor made of the images, by the network's argument names; empty
            without images.
        token_types_T: 1 where an id stands for a part of an image, int64 [T].
    """

    ids_T: torch.Tensor
    pictures: Mapping[str, torch.Tensor]
    token_types_T: torch.Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptReader:
    """Tokenizer and image processor of one checkpoint.

    Attributes:
        processor: transformers' processor, with a chat template.
        image_token: The placeholder's text.
        image_token_id: Its id.
        end_id: Id that ends an assistant's turn.
        pad_id: Id that fills a batch up.
    """

    processor: Any
    image_token: str
    image_token_id: int
    end_id: int
    pad_id: int

    def read(self, prompt: Prompt) -> PromptInputs:
        """Open the images, apply the chat template and repeat the image tokens.

        Raises:
            DataError: If an image cannot be opened or is too slim, or if the messages do not
                hold exactly one placeholder for each image.
        """
        text = self._templated(prompt)
        if not prompt.images:
            ids_T = torch.tensor(self._ids(text), dtype=torch.int64)
            return PromptInputs(ids_T=ids_T, pictures={}, token_types_T=torch.zeros_like(ids_T))
        features = self.processor(
            text=[text],
            images=[self.pictures(prompt)],
            return_tensors="pt",
            add_special_tokens=False,
        )
        ids_T = features["input_ids"][0]
        apart = ("input_ids", "attention_mask", "mm_token_type_ids", "token_type_ids")
        return PromptInputs(
            ids_T=ids_T,
            pictures={name: value for name, value in features.items() if name not in apart},
            token_types_T=(ids_T == self.image_token_id).to(torch.int64),
        )

    def short_ids(self, prompt: Prompt) -> list[int]:
        """Tokenise with one token for each image, for engines that repeat it themselves.

        Raises:
            DataError: If there is not exactly one placeholder for each image.
        """
        return self._ids(self._templated(prompt))

    def target_ids(self, target: str) -> tuple[int, ...]:
        """Tokenise an answer and close the assistant's turn."""
        return (*self._ids(target), self.end_id)

    def encode(self, prompt: Prompt, target: str) -> Encoded:
        """Tokenise a prompt and its answer, and count the tokens that stand for pictures."""
        inputs = self.read(prompt)
        return Encoded(
            prompt_ids=tuple(inputs.ids_T.tolist()),
            target_ids=self.target_ids(target),
            image_tokens=int(inputs.token_types_T.sum()),
        )

    def text(self, token_ids: Sequence[int]) -> str:
        """Decode without special tokens."""
        return str(
            self.processor.tokenizer.decode(
                list(token_ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        )

    def _ids(self, text: str) -> list[int]:
        return list(self.processor.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _templated(self, prompt: Prompt) -> str:
        text = str(
            self.processor.apply_chat_template(
                list(prompt.messages), tokenize=False, add_generation_prompt=True
            )
        )
        found = text.count(self.image_token)
        if found != len(prompt.images):
            raise DataError(
                f"{prompt.example_id} has {len(prompt.images)} images but {found} image "
                "placeholders in its text; remove image tokens from the question"
            )
        return text

    def pictures(self, prompt: Prompt) -> list[PIL.Image.Image]:
        """Open a prompt's images.

        Raises:
            DataError: If one cannot be opened or is too slim.
        """
        pictures = [image.open() for image in prompt.images]
        for picture, image in zip(pictures, prompt.images, strict=True):
            if max(picture.size) > 200 * min(picture.size):
                raise DataError(
                    f"image {image.name} of {prompt.example_id} is {picture.size[0]} x "
                    f"{picture.size[1]}; one side may be at most 200 times the other"
                )
        return pictures


@dataclass(frozen=True, slots=True, kw_only=True)
class Speech:
    """How a checkpoint is spoken to, and what its tokens mean to whoever draws them.

    Attributes:
        reader: Tokenizer and image processor.
        end_ids: Ids that end a completion.
        suppressed: Ids that are never drawn: they stand for pixels.
    """

    reader: PromptReader
    end_ids: frozenset[int]
    suppressed: tuple[int, ...]


def speech(processor: Any, config: Any, generation: Any, *, family: ModelFamily) -> Speech:
    """Read the roles of a checkpoint's tokens; its weights need not be loaded.

    Args:
        processor: transformers' processor.
        config: transformers' config.
        generation: transformers' generation config.
        family: Facts about the architecture.
    """
    tokenizer = processor.tokenizer
    end_id, pad_id = int(tokenizer.eos_token_id), tokenizer.pad_token_id
    reader = PromptReader(
        processor=processor,
        image_token=str(processor.image_token),
        image_token_id=int(config.image_token_id),
        end_id=end_id,
        pad_id=end_id if pad_id is None else int(pad_id),
    )
    vocabulary = tokenizer.get_vocab()
    suppressed = {reader.image_token_id}
    suppressed |= {vocabulary[name] for name in family.never_sampled if name in vocabulary}
    for name in ("video_token_id", "vision_start_token_id"):
        token = getattr(config, name, None)
        suppressed |= set() if token is None else {int(token)}
    return Speech(
        reader=reader,
        end_ids=_end_ids(config, generation, end_id),
        suppressed=tuple(sorted(suppressed)),
    )


def _end_ids(config: Any, generation: Any, end_id: int) -> frozenset[int]:
    ids = {end_id}
    for source in (config.get_text_config(), generation):
        value = source.eos_token_id
        ids |= set(value if isinstance(value, list) else [] if value is None else [value])
    return frozenset(ids)
