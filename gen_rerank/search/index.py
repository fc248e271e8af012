"""The index of a shop's products, open for searching: what others commit, the next query sees.

A folder with `index.json`, tantivy's files in `words/`, and where they are wanted `synonyms.txt` and `vectors/`. Who
makes and changes it is `building`; how a list is asked, `lists`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import tantivy

from gen_rerank.data.cleaning import clean
from gen_rerank.errors import BadInput, first_line
from gen_rerank.search.candidates import ProductCandidate
from gen_rerank.search.fields import ANALYZER, ID, KEY, LISTS, product_in
from gen_rerank.search.fusion import fused
from gen_rerank.search.lists import MOST_WORDS, best_keys, list_query
from gen_rerank.search.settings import IndexSettings
from gen_rerank.search.synonyms import Synonyms, read_synonyms_text
from gen_rerank.search.vectors import TextEncoder, Vectors
from gen_rerank.search.words import analyzer, spelled

WORDS, SYNONYMS, VECTORS = "words", "synonyms.txt", "vectors"
# What changes with each commit, and with a new index in the place of an old one.
_STATE = f"{WORDS}/meta.json"

# By a product's key, where it is.
Found = dict[int, tantivy.DocAddress]


class ProductIndex:
    """Finds the candidates of a query in an index.

    Example:
        >>> index = ProductIndex.open("runs/index")  # doctest: +SKIP
        >>> index.candidates("16 inch laptop sleeve", 256)[0].product.title  # doctest: +SKIP
        'Laptop sleeve 16", felt'
    """

    def __init__(self, folder: Path) -> None:
        """Open the files; most people call `open`."""
        self.folder = folder
        self._encoder: TextEncoder | None = None
        self._load()

    @classmethod
    def open(cls, folder: str | Path) -> ProductIndex:
        """Open an index.

        Raises:
            BadInput: there is none, it is of another version, or its files are damaged.
        """
        return cls(Path(folder))

    @property
    def lists(self) -> tuple[str, ...]:
        """The names of the lists that are fused."""
        return (*LISTS, VECTORS) if self._encoder else LISTS

    def __len__(self) -> int:
        """Return how many products it holds."""
        self._follow()
        return int(self._searcher.num_docs)

    def candidates(self, query: str, limit: int = 256) -> list[ProductCandidate]:
        """Return the products that the lists find, fused by reciprocal ranks, best first.

        Args:
            query: what the shopper typed; never read as query syntax.
            limit: how many at most, of each list and of all together.

        Raises:
            BadInput: the query has no text, or the model of the vectors cannot be loaded.
        """
        found = self._found(query, limit)
        places = {name: {key: rank for rank, key in enumerate(rows, start=1)} for name, rows in found.items()}
        where = {key: address for rows in found.values() for key, address in rows.items()}
        return [
            ProductCandidate(
                product_in(self._searcher.doc(where[key])),
                {name: ranks[key] for name, ranks in places.items() if key in ranks},
            )
            for key, _ in fused([list(rows) for rows in found.values()], limit)
        ]

    def gone(self, product_ids: Iterable[str]) -> set[str]:
        """Return those of the products that the index does not hold now."""
        self._follow()
        return {product_id for product_id in product_ids if self._address(ID, product_id) is None}

    def _found(self, query: str, limit: int) -> dict[str, Found]:
        """Return the products of each list, best first."""
        if not clean(query).strip():
            raise BadInput("the query has no text")
        self._follow()
        words = self._analyzer.analyze(spelled(query))[:MOST_WORDS]
        asked = {field: list_query(self._searcher, self._schema, field, words, self._synonyms) for field in LISTS}
        found = {field: best_keys(self._searcher, query, limit) for field, query in asked.items()}
        if self._encoder:
            near = self._vectors.nearest(self._encoder.encode([query])[0], limit)
            places = ((key, self._address(KEY, key)) for key in near)
            found[VECTORS] = {key: address for key, address in places if address is not None}
        return found

    def _address(self, field: str, value: str | int) -> tantivy.DocAddress | None:
        """Return where a product is."""
        hits = self._searcher.search(tantivy.Query.term_query(self._schema, field, value), 1, count=False).hits
        return hits[0][1] if hits else None

    def _follow(self) -> None:
        """Load again what was committed, or put in its place, since the last look."""
        if _state(self.folder) != self._state:
            self._load()

    def _load(self) -> None:
        self.settings = IndexSettings.read(self.folder)
        self._state = _state(self.folder)
        self._analyzer = analyzer(self.settings.language)
        opened = open_words(self.folder, self.settings)
        self._schema, self._searcher = opened.schema, opened.searcher()
        self._synonyms = read_synonyms(self.folder / SYNONYMS, self.settings.language)
        self._vectors = Vectors(self.folder / VECTORS)
        if self.settings.vectors != (self._encoder.name if self._encoder else None):
            self._encoder = TextEncoder(self.settings.vectors) if self.settings.vectors else None


def open_words(folder: Path, settings: IndexSettings) -> tantivy.Index:
    """Open tantivy's part of an index.

    Raises:
        BadInput: its files are damaged or not there.
    """
    try:
        opened = tantivy.Index.open(str(folder / WORDS))
    except ValueError as error:
        raise BadInput(
            f"{folder}: the index is damaged ({first_line(error)}); make it again: gen-rerank index DATA --out INDEX"
        ) from error
    opened.register_tokenizer(ANALYZER, analyzer(settings.language))
    return opened


def read_synonyms(file: Path, language: str) -> Synonyms:
    """Return the synonyms of a file, as words of the language; none where there is no file.

    Raises:
        BadInput: it cannot be read, or a line has no synonyms.
    """
    if not file.exists():
        return Synonyms.none()
    words = analyzer(language)
    return Synonyms.of(read_synonyms_text(file), lambda text: words.analyze(spelled(text)), str(file))


def _state(folder: Path) -> tuple[int, int] | None:
    """Return what is another one after a commit; None where nothing is there at the moment."""
    try:
        found = (folder / _STATE).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
