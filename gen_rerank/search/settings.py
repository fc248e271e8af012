"""What an index says of itself in `index.json`: its version, its language, the model of its vectors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import tantivy

from gen_rerank.checkpoints.folders import read_json
from gen_rerank.errors import BadInput
from gen_rerank.search.words import LANGUAGES
from gen_rerank.system.publishing import write_text_whole

FILE = "index.json"
# Another number, when the words of a text or the fields change: an older index would not find what it should.
FORMAT = 2
# Of tantivy's own files, "7" in "tantivy v0.27.0, index_format v7".
FILES_FORMAT = tantivy.__version__.rpartition("index_format v")[2]  # type: ignore[attr-defined]  # its stubs lack it


def is_of_an_index(said: Mapping[str, object]) -> bool:
    """Return whether what an `index.json` says is that of an index, of whatever version.

    Example:
        >>> is_of_an_index({"format": 1, "tantivy": "7"}), is_of_an_index({"site": "mine"})
        (True, False)
    """
    return "format" in said and "tantivy" in said


@dataclass(frozen=True)
class IndexSettings:
    """How the texts of an index became words, and what else it holds.

    Attributes:
        language: one of `words.LANGUAGES`.
        vectors: the sentence-transformers model of its third list; None where it has two.
    """

    language: str = "english"
    vectors: str | None = None

    def write(self, folder: Path) -> None:
        """Write `index.json`; a model that is a folder by its whole path, so that it is found from everywhere."""
        content = {"format": FORMAT, "tantivy": FILES_FORMAT, **asdict(self)}
        if self.vectors is not None and Path(self.vectors).is_dir():
            content["vectors"] = str(Path(self.vectors).resolve())
        write_text_whole(folder / FILE, json.dumps(content, indent=1) + "\n")

    @classmethod
    def read(cls, folder: Path) -> IndexSettings:
        """Return the settings of an index.

        Raises:
            BadInput: there is no index, or one of another version.

        Example:
            >>> IndexSettings.read(Path("runs/index")).language  # doctest: +SKIP
            'english'
        """
        if folder.is_file():
            raise BadInput(f"{folder}: is a file; name the folder that gen-rerank index wrote")
        if not (folder / FILE).is_file():
            what = "is no index (it has no index.json)" if folder.is_dir() else "no such folder"
            raise BadInput(f"{folder}: {what}; make one: gen-rerank index DATA --out INDEX")
        said = read_json(folder / FILE)
        for name, ours in (("format", FORMAT), ("tantivy", FILES_FORMAT)):
            if said.get(name) != ours:
                raise BadInput(
                    f"{folder}: is an index of another version ({name} {said.get(name)}, this version reads {ours}); "
                    "index the products again: gen-rerank index DATA --out INDEX"
                )
        language, vectors = said.get("language"), said.get("vectors")
        if language not in LANGUAGES or not isinstance(vectors, str | None):
            raise BadInput(f"{folder / FILE}: is damaged; index the products again: gen-rerank index DATA --out INDEX")
        return cls(language, vectors)
