"""What all pages share: one way to fill a template, one policy, styles and script inside the page.

A model's words are hostile until shown otherwise: everything is escaped by the template engine, the
page's policy forbids every connection, and only the page's own script and style, named by their
hashes, may run.
"""

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from types import MappingProxyType

from markupsafe import Markup

Filters = Mapping[str, Callable[..., str]]
"""Name within the template -> what writes a value."""


def fill(
    template: str,
    *,
    styles: Sequence[str] = (),
    script: str | None = None,
    filters: Filters = MappingProxyType({}),
    **context: object,
) -> str:
    """Fill a template; every value is escaped, and a name that is not given is an error.

    Args:
        template: A file of `templates/`; it gets `style`, `script` and the `policy` that allows
            these two and nothing else.
        styles: Files there for the page's <style>, in the order in which they apply.
        script: The file there for its <script>; None for a page without one.
        filters: What the template writes values with, beside jinja2's own.
        **context: The values.

    Returns:
        Text that can be written as UTF-8: a lone surrogate, which a model may well say, becomes a
        question mark.
    """
    import jinja2

    folder = resources.files("vlmtune.reports") / "templates"
    style = "\n".join((folder / name).read_text(encoding="utf-8") for name in styles)
    code = "" if script is None else (folder / script).read_text(encoding="utf-8")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("vlmtune.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters
    inside = {"style": Markup(style), "script": Markup(code), "policy": policy(style, code)}
    text: str = environment.get_template(template).render(**inside, **context)
    return text.encode("utf-8", "replace").decode("utf-8")


def policy(style: str, script: str) -> str:
    """Forbid everything but inline pictures and the two inline blocks with these hashes.

    Args:
        style: What stands inside <style>, to the letter.
        script: What stands inside <script>.
    """
    return (
        "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"style-src '{_hash(style)}'; script-src '{_hash(script)}'"
    )


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
