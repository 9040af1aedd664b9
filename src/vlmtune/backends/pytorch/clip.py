"""How alike a picture and a text are, by a CLIP model of transformers.

    scorer = load_scorer("openai/clip-vit-base-patch16")
    scorer.similarities([picture, picture], ["a cat on a mat", "a bus"])    [0.31, 0.17]

SigLIP and other two-tower models load the same way. OpenAI's CLIP reads English and at most 77
tokens; for other languages name a multilingual one.
"""

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import PIL.Image

from vlmtune.errors import CheckpointError, MissingDependency

BATCH = 16
"""Texts and pictures encoded side by side."""
REMEMBERED = 1024
"""Pictures whose encoding is kept, 2 KB each: their rows are asked about again and again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipScorer:
    """A loaded CLIP model; it has no gradients and belongs to no optimizer.

    Attributes:
        name: As the user named it.
        model: The two towers, in evaluation mode.
        processor: Its tokenizer and image processor.
        encoded: Pictures encoded last, by their pixels.
    """

    name: str
    model: Any = field(repr=False)
    processor: Any = field(repr=False)
    encoded: dict[bytes, Any] = field(default_factory=dict, repr=False)

    def similarities(self, images: Sequence[PIL.Image.Image], texts: Sequence[str]) -> list[float]:
        """Compare each picture with its own text.

        Args:
            images: Mode RGB; the same object may stand in several places and is encoded once.
            texts: As many as pictures; what does not fit the text tower is not read.

        Returns:
            Cosines, -1 to 1, in order.
        """
        import torch

        with torch.inference_mode():
            pictures = torch.stack(self._pictures(images))
            words = torch.cat([self._texts(part) for part in _parts(list(texts))])
            found: list[float] = (pictures * words).sum(dim=-1).float().cpu().tolist()
        return [min(1.0, max(-1.0, cosine)) for cosine in found]

    def _pictures(self, images: Sequence[PIL.Image.Image]) -> list[Any]:
        """Encode those pictures that are not known yet."""
        own = {id(image): image for image in images}
        keys = {name: _key(image) for name, image in own.items()}
        new = {keys[name]: image for name, image in own.items() if keys[name] not in self.encoded}
        vectors = [vector for part in _parts(list(new.values())) for vector in self._images(part)]
        known = self.encoded | dict(zip(new, vectors, strict=True))
        self.encoded.update(zip(new, vectors, strict=True))
        while len(self.encoded) > REMEMBERED:
            self.encoded.pop(next(iter(self.encoded)), None)
        return [known[keys[id(image)]] for image in images]

    def _images(self, images: Sequence[PIL.Image.Image]) -> Any:
        inputs = self.processor(images=list(images), return_tensors="pt").to(self.model.device)
        return _unit(self.model.get_image_features(**inputs))

    def _texts(self, texts: Sequence[str]) -> Any:
        # SigLIP was trained on padded texts; CLIP's mask makes padding invisible to it.
        room = self.model.config.text_config.max_position_embeddings
        inputs = self.processor(
            text=list(texts),
            padding="max_length",
            truncation=True,
            max_length=min(room, self.processor.tokenizer.model_max_length),
            return_tensors="pt",
        ).to(self.model.device)
        return _unit(self.model.get_text_features(**inputs))


@functools.lru_cache(maxsize=4)
def load_scorer(model: str) -> ClipScorer:
    """Load a CLIP model, once per process.

    Args:
        model: Hub id or local folder.

    Raises:
        MissingDependency: If torch or transformers is not installed.
        CheckpointError: If there are no such weights, or they are no CLIP.
    """
    try:
        import torch
        from transformers import AutoModel
    except ModuleNotFoundError as error:
        raise MissingDependency(
            f"the scorer clip needs {error.name}: pip install 'vlmtune[cuda]', or set "
            "reward.explanation.alpha: 1 for CIDEr alone"
        ) from None
    try:
        towers = AutoModel.from_pretrained(model, dtype=torch.float32)
        processor = _processor(model, towers.config.model_type)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"CLIP '{model}' cannot be loaded ({' '.join(str(error).split())[:200]}); set "
            "reward.explanation.clip_model to a folder with it, or alpha: 1 for CIDEr alone"
        ) from None
    two_towers = hasattr(towers, "get_text_features") and hasattr(towers, "get_image_features")
    if processor is None or not two_towers:
        raise CheckpointError(
            f"'{model}' is {type(towers).__name__}, which does not compare pictures with texts; "
            "set reward.explanation.clip_model to a CLIP or SigLIP"
        )
    towers.requires_grad_(False)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return ClipScorer(name=model, model=towers.eval().to(device), processor=processor)


def _processor(model: str, model_type: str) -> Any:
    """Load the processor by its class, with pictures resized by PIL; None where there is none.

    Not through AutoProcessor: importing mlx-vlm replaces it for the whole process, by one that
    returns MLX arrays.
    """
    import transformers
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

    name = PROCESSOR_MAPPING_NAMES.get(model_type)
    if name is None:
        return None
    processor = getattr(transformers, name).from_pretrained(model)
    processor.image_processor = transformers.AutoImageProcessor.from_pretrained(
        model, backend="pil"
    )
    return processor


def _key(image: PIL.Image.Image) -> bytes:
    told = f"{image.mode} {image.size}".encode()
    return hashlib.blake2b(told + image.tobytes(), digest_size=16).digest()


def _parts(items: Sequence[Any]) -> list[Sequence[Any]]:
    return [items[start : start + BATCH] for start in range(0, len(items), BATCH)]


def _unit(features: Any) -> Any:
    # Newer transformers return the tower's whole output, with the embedding as its pooled part.
    vectors = getattr(features, "pooler_output", features)
    return vectors / vectors.norm(dim=-1, keepdim=True).clamp_min(1e-12)
