"""From a Prompt to tensors: chat template, image tokens, patches, with transformers' processor.

Pictures go through the processor's PIL path and not its torchvision path: both resize, but only
PIL's pixels are the same on every backend and every machine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from vlmtune.errors import DataError
from vlmtune.types import Prompt


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
        text = self.processor.apply_chat_template(
            list(prompt.messages), tokenize=False, add_generation_prompt=True
        )
        found = text.count(self.image_token)
        if found != len(prompt.images):
            raise DataError(
                f"{prompt.example_id} has {len(prompt.images)} images but {found} image "
                "placeholders in its text; remove image tokens from the question"
            )
        if not prompt.images:
            ids_T = torch.tensor(self._ids(text), dtype=torch.int64)
            return PromptInputs(ids_T=ids_T, pictures={}, token_types_T=torch.zeros_like(ids_T))
        features = self.processor(
            text=[text],
            images=[self._opened(prompt)],
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

    def target_ids(self, target: str) -> tuple[int, ...]:
        """Tokenise an answer and close the assistant's turn."""
        return (*self._ids(target), self.end_id)

    def text(self, token_ids: Sequence[int]) -> str:
        """Decode without special tokens."""
        return str(
            self.processor.tokenizer.decode(
                list(token_ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        )

    def _ids(self, text: str) -> list[int]:
        return list(self.processor.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _opened(self, prompt: Prompt) -> list[Any]:
        pictures = [image.open() for image in prompt.images]
        for picture, image in zip(pictures, prompt.images, strict=True):
            if max(picture.size) > 200 * min(picture.size):
                raise DataError(
                    f"image {image.name} of {prompt.example_id} is {picture.size[0]} x "
                    f"{picture.size[1]}; one side may be at most 200 times the other"
                )
        return pictures
