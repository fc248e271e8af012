"""A template of a package becomes a page: HTML that escapes what it shows, or Markdown whose template does so itself.

Templates lie in the folder `templates` of the package that fills them; what pages share lies here: the
skeleton `reporting/page.html` and the drawings `reporting/plots.html`, each with its style. A name that a template uses
and nobody gave is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, PrefixLoader, StrictUndefined

_SHARED = PrefixLoader({"reporting": PackageLoader("gen_rerank.reporting")})


def environment(package: str, template: str, *filters: Callable[..., Any], **named: Any) -> Environment:
    """Return what finds a package's templates and the shared ones, and escapes as the page `template` needs it.

    Args:
        package: whose `templates` folder comes first.
        template: the name of the page's file; `.html` and `.svg` escape, anything else does not.
        filters: that templates use, under their own names.
        named: filters under other names.
    """
    found = Environment(
        loader=ChoiceLoader([PackageLoader(package), _SHARED]),
        autoescape=template.endswith((".html", ".svg")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {one.__name__: one for one in filters} | named
    return found


def render(package: str, template: str, shapes: Mapping[str, Any], *filters: Callable[..., Any], **named: Any) -> str:
    """Return a template filled in.

    Args:
        package: whose `templates` folder holds it.
        template: the name of its file.
        shapes: what it reads, by name.
        filters: that it uses, under their own names.
        named: filters under other names.

    Example:
        >>> render("train", "training.html", {"run": run}, compact)  # doctest: +SKIP
    """
    return environment(package, template, *filters, **named).get_template(template).render(shapes)
