r"""From a Prompt to token ids and pixels: chat template, image tokens, patches.

    <|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>How many red cubes ...

becomes ids in which the one <|image_pad|> is repeated once for each merged patch of its image.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vlmtune.errors import DataError
from vlmtune.types import Prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptInputs:
    """What the network reads.

    Attributes:
        ids_T: Prompt up to and including the assistant's header, int32 [T].
        pixels: Normalised patches of all images, float32 [patches, values], or None.
        grids_N3: Patches of each image as (time, height, width), int64 [N, 3].
    """

    ids_T: npt.NDArray[np.int32]
    pixels: npt.NDArray[np.float32] | None
    grids_N3: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptReader:
    """Tokenizer and image processor of one checkpoint.

    Attributes:
        tokenizer: A Hugging Face tokenizer with a chat template.
        image_processor: Turns RGB pictures into `pixel_values` and `image_grid_thw`.
        image_token_id: Id of the placeholder.
        end_id: Id that ends an assistant's turn.
    """

    tokenizer: Any
    image_processor: Any
    image_token_id: int
    end_id: int

    def read(self, prompt: Prompt) -> PromptInputs:
        """Open the images, apply the chat template and repeat the image tokens.

        Raises:
            DataError: If an image cannot be opened or is too slim, or if the messages do not
                hold exactly one placeholder for each image.
        """
        pixels, grids_N3 = self._patches(prompt)
        text = self.tokenizer.apply_chat_template(
            list(prompt.messages), tokenize=False, add_generation_prompt=True
        )
        once_T = np.asarray(self._ids(text), dtype=np.int32)
        is_image_T = once_T == self.image_token_id
        if int(is_image_T.sum()) != len(grids_N3):
            raise DataError(
                f"{prompt.example_id} has {len(grids_N3)} images but {int(is_image_T.sum())} image "
                "placeholders in its text; remove image tokens from the question"
            )
        repeats_T = np.ones(len(once_T), dtype=np.int64)
        repeats_T[is_image_T] = grids_N3.prod(axis=1) // self.image_processor.merge_size**2
        return PromptInputs(ids_T=np.repeat(once_T, repeats_T), pixels=pixels, grids_N3=grids_N3)

    def target_ids(self, target: str) -> tuple[int, ...]:
        """Tokenise an answer and close the assistant's turn."""
        return (*self._ids(target), self.end_id)

    def text(self, token_ids: Sequence[int]) -> str:
        """Decode without special tokens."""
        return str(
            self.tokenizer.decode(
                list(token_ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        )

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _patches(
        self, prompt: Prompt
    ) -> tuple[npt.NDArray[np.float32] | None, npt.NDArray[np.int64]]:
        if not prompt.images:
            return None, np.empty((0, 3), dtype=np.int64)
        pictures = [image.open() for image in prompt.images]
        for picture, image in zip(pictures, prompt.images, strict=True):
            if max(picture.size) > 200 * min(picture.size):
                raise DataError(
                    f"image {image.name} of {prompt.example_id} is {picture.size[0]} x "
                    f"{picture.size[1]}; one side may be at most 200 times the other"
                )
        features = self.image_processor(images=pictures)
        return features["pixel_values"], features["image_grid_thw"]
