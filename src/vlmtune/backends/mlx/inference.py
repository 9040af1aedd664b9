"""One prompt in, one answer out: the short way to ask a model.

from vlmtune import MLXInference
print(MLXInference("3b-4bit").generate("What is left of the sofa?", image="room.jpg"))
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import PIL.Image
import PIL.ImageOps

from vlmtune.backends.select import select
from vlmtune.data.images import BytesImage, FileImage
from vlmtune.types import JSON, Completion, ImageRef, ModelInfo, Prompt, Sampling

Picture: TypeAlias = str | Path | PIL.Image.Image


class MLXInference:
    """A loaded model that answers single prompts.

    Args:
        model: Alias (pico, 3b-4bit ... 32b-4bit), local folder or hub id.

    Attributes:
        model: What was loaded.

    Raises:
        MissingDependency: If MLX is not installed.
        ConfigError: If the alias is unknown.
        CheckpointError: If the folder is incomplete or the hub cannot be reached.
    """

    def __init__(self, model: str = "pico") -> None:
        self._generator = select("mlx").backend.load_generator(model)
        self.model: ModelInfo = self._generator.model

    def generate(
        self,
        prompt: str,
        image: Picture | Sequence[Picture] | None = None,
        *,
        max_tokens: int = 256,
        temperature: float = 0.0,
        seed: int = 0,
        system: str = "",
    ) -> str:
        """Answer a prompt.

        Args:
            prompt: The user's text.
            image: Path or picture, or several, which come before the text.
            max_tokens: Longest answer, in tokens.
            temperature: 0 takes the likeliest token each time.
            seed: Fixes the draws at a temperature above 0.
            system: System message; empty leaves it to the model's chat template.

        Raises:
            DataError: If a picture cannot be opened.
        """
        completion = self.complete(
            prompt,
            image,
            sampling=Sampling(max_tokens=max_tokens, temperature=temperature, seed=seed),
            system=system,
        )
        return completion.text

    def complete(
        self,
        prompt: str,
        image: Picture | Sequence[Picture] | None = None,
        *,
        sampling: Sampling,
        system: str = "",
    ) -> Completion:
        """Answer a prompt and keep token ids, log-probabilities and time.

        Raises:
            DataError: If a picture cannot be opened.
        """
        images = _images(image)
        parts: list[JSON] = [{"type": "image"} for _ in images]
        messages: list[dict[str, JSON]] = [
            {"role": "user", "content": [*parts, {"type": "text", "text": prompt}]}
        ]
        if system:
            content = [{"type": "text", "text": system}]
            messages.insert(0, {"role": "system", "content": content})
        asked = Prompt(example_id="prompt", messages=tuple(messages), images=images, style="raw")
        return self._generator.generate([asked], sampling)[0][0]


def _images(image: Picture | Sequence[Picture] | None) -> tuple[ImageRef, ...]:
    if image is None:
        return ()
    alone = isinstance(image, (str, Path, PIL.Image.Image))
    pictures: Sequence[Picture] = [image] if alone else image  # type: ignore[list-item,assignment]
    return tuple(_image_ref(picture, place) for place, picture in enumerate(pictures, start=1))


def _image_ref(picture: Picture, place: int) -> ImageRef:
    if not isinstance(picture, PIL.Image.Image):
        return FileImage(str(Path(picture).expanduser()))
    buffer = io.BytesIO()
    PIL.ImageOps.exif_transpose(picture).convert("RGB").save(buffer, format="PNG", compress_level=0)
    return BytesImage(f"image {place}", buffer.getvalue())
