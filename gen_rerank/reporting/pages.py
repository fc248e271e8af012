"""A template of a package becomes a page: HTML that escapes what it shows, or Markdown whose template does so itself.

Templates lie in the folder `templates` of the package that fills them; what pages share, the skeleton and its style,
lies here and is called `reporting/page.html`. A name that a template uses and nobody gave is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, PrefixLoader, StrictUndefined

_SHARED = PrefixLoader({"reporting": PackageLoader("gen_rerank.reporting")})


def render(package: str, template: str, shapes: Mapping[str, Any], *filters: Callable[..., Any], **named: Any) -> str:
    """Return a template filled in.

    Args:
        package: whose `templates` folder holds it.
        template: the name of its file; `.html` escapes, anything else does not.
        shapes: what it reads, by name.
        filters: that it uses, under their own names.
        named: filters under other names.

    Example:
        >>> render("train", "training.html", {"run": run}, compact)  # doctest: +SKIP
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), _SHARED]),
        autoescape=template.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {one.__name__: one for one in filters} | named
    return environment.get_template(template).render(shapes)
