"""What all parts of the config share: strict types, no unknown key, read-only, documented."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of the config: unknown keys are refused, fields are read-only, docstrings are help."""

    # Strict: "8" and true are not numbers. Neither is infinity.
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )
