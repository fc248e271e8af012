"""Every public set by its name, and the one call that makes a data folder of it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from gen_rerank.data.importing.judging import JudgmentOptions, Opener, import_judgments
from gen_rerank.data.importing.report import ImportReport
from gen_rerank.data.public_sets.amazebay import CATALOG, import_amazebay_catalog, open_amazebay_relevance
from gen_rerank.data.public_sets.chorus import open_chorus
from gen_rerank.data.public_sets.crowdflower import open_crowdflower
from gen_rerank.data.public_sets.eress import open_eress
from gen_rerank.data.public_sets.esci import open_esci
from gen_rerank.data.public_sets.homedepot import open_homedepot
from gen_rerank.data.public_sets.wands import open_wands

# What opens the judgments of a set; the catalog has none.
_OPENERS: Mapping[str, Opener] = {
    "amazebay-relevance": open_amazebay_relevance,
    "eress": open_eress,
    "wands": open_wands,
    "homedepot": open_homedepot,
    "crowdflower": open_crowdflower,
    "chorus": open_chorus,
}
_ESCI = "esci"
PUBLIC_SETS: tuple[str, ...] = (CATALOG, _ESCI, *_OPENERS)


def import_public_set(
    name: str, source: Path, out: Path, options: JudgmentOptions, *, locale: str = "us"
) -> ImportReport:
    """Make a data folder of a public set.

    Args:
        name: one of `PUBLIC_SETS`.
        source: its folder, or its file where one is enough.
        out: the folder; of sets with judgments, a catalog that is in it is used.
        options: `scale` and `columns` are rarely needed, since the sets say both.
        locale: of ESCI, the country that is read.

    Returns:
        What was read, kept and refused.

    Raises:
        BadInput: the source or `out` cannot be used, or nothing is left.

    Example:
        >>> import_public_set("wands", Path("WANDS/dataset"), Path("shop"), JudgmentOptions())  # doctest: +SKIP
    """
    assert name in PUBLIC_SETS, name
    if name == CATALOG:
        return import_amazebay_catalog(source, out, keep_rest=options.keep_rest)
    opener = partial(open_esci, locale=locale) if name == _ESCI else _OPENERS[name]
    return import_judgments(source, out, name, opener, options)
