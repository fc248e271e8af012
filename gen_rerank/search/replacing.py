"""Whether a folder may give way to a new index: only an index may, whole or damaged, in which nothing else lies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from gen_rerank.checkpoints.folders import read_json
from gen_rerank.errors import BadInput
from gen_rerank.search.fields import FIELDS
from gen_rerank.search.index import SYNONYMS, VECTORS, WORDS
from gen_rerank.search.settings import FILE, is_of_an_index
from gen_rerank.system.publishing import refuse_taken

# Tantivy's: its lists, its locks, what a killed run left of a list, and the parts of its segments.
_IN_WORDS = re.compile(r"meta\.json|\.managed\.json|\.tantivy-[a-z]+\.lock|\.tmp\w+|[0-9a-f]{32}(\.\d+)?\.[a-z]+")
_IN_VECTORS = re.compile(r"\d{12}\.npy|\.partial")


def refuse_no_index(out: Path) -> None:
    """Refuse to replace anything but an older index: what holds something else is not removed with it.

    Raises:
        BadInput: a file lies at `out`, or a folder that is no index, or an index with something else in it.

    Example:
        >>> refuse_no_index(Path("/no/such/folder"))
    """
    if not out.is_dir() or not any(out.iterdir()):
        refuse_taken(out)
        return
    if not _is_index(out):
        refuse_taken(out)
    for path in _strangers(out):
        raise BadInput(
            f"{out}: holds {path.relative_to(out)}, which is no part of an index; move it away or choose another place"
        )


def _is_index(out: Path) -> bool:
    """Return whether `index.json` is ours, or, where it is damaged or gone, tantivy's list of our fields is there."""
    try:
        return is_of_an_index(read_json(out / FILE))
    except (BadInput, OSError):
        pass
    try:
        fields = read_json(out / WORDS / "meta.json").get("schema")
    except (BadInput, OSError):
        return False
    names = [field.get("name") for field in fields if isinstance(field, dict)] if isinstance(fields, list) else []
    return names == list(FIELDS)


def _strangers(out: Path) -> Iterator[Path]:
    """Yield what no index has written."""
    parts = {WORDS: _IN_WORDS, VECTORS: _IN_VECTORS}
    for path in sorted(out.iterdir()):
        if path.name in parts and path.is_dir() and not path.is_symlink():
            ours = parts[path.name]
            yield from (one for one in sorted(path.iterdir()) if not ours.fullmatch(one.name) or one.is_dir())
        elif path.name not in (FILE, SYNONYMS) or not path.is_file():
            yield path
