"""No model at all: answers from a fixed script, to test and to try out everything around a model.

It reads the question's hint, makes up answers of the right form and never looks at a picture's
content. Its accuracy says nothing; its mixture of right-looking, wrong, unformatted, empty and cut
answers exercises rewards, advantages and reports.
"""

from pathlib import Path

from vlmtune.errors import ConfigError
from vlmtune.protocols import Generator
from vlmtune.types import Problem

NAME = "scripted"


def check() -> list[Problem]:
    """Say why it cannot run: it always can."""
    return []


def load_generator(
    model: str,
    *,
    batch_rows: int = 64,
    adapter: Path | None = None,
    min_pixels: int | None = None,
    max_pixels: int | None = None,
) -> Generator:
    """Make the generator; the model's name and the batch size change nothing.

    Args:
        model: Ignored; there is no model.
        batch_rows: Ignored; nothing is computed side by side.
        adapter: Must be None: answers from a script have no weights to adapt.
        min_pixels: Ignored; a script looks at no pixel.
        max_pixels: Ignored.

    Raises:
        ConfigError: If an adapter is given.
    """
    del model, batch_rows, min_pixels, max_pixels
    if adapter is not None:
        raise ConfigError(f"backend scripted has no model to put the adapter {adapter} on")
    from vlmtune.backends.scripted.generate import ScriptedGenerator

    return ScriptedGenerator()
