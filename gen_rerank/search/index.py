"""The index of a shop's products, open for searching: what others commit, the next query sees.

A folder with `index.json`, tantivy's files in `words/`, and where they are wanted `synonyms.txt` and `vectors/`. Who
makes and changes it is `building`; how a list is asked, `lists`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tantivy

from gen_rerank.data.cleaning import clean
from gen_rerank.data.documents import as_query
from gen_rerank.data.records import Product
from gen_rerank.errors import BadInput, first_line
from gen_rerank.search.candidates import ProductCandidate
from gen_rerank.search.fields import ANALYZER, FULL, ID, LISTS, ROW, TITLE, product_in
from gen_rerank.search.fusion import fused
from gen_rerank.search.lists import MOST_CHARACTERS, MOST_WORDS, best_keys, keys_of_rows, list_query
from gen_rerank.search.settings import IndexSettings
from gen_rerank.search.synonyms import Synonyms, read_synonyms_text
from gen_rerank.search.vectors import TextEncoder, Vectors
from gen_rerank.search.words import analyzer, words_of

WORDS, SYNONYMS, VECTORS = "words", "synonyms.txt", "vectors"

# What a list counts for in the fusion. A title alone says less than everything: with equal weights the first 64
# products held fewer relevant ones than the list of everything by itself (docs/search.md).
WEIGHTS = {TITLE: 0.3, FULL: 1.0, VECTORS: 1.0}

# By a product's key, where it is.
Found = dict[int, tantivy.DocAddress]
# Of the files that a commit, other synonyms or a new index in the place of an old one change.
State = tuple[tuple[int, int] | None, ...]


@dataclass(frozen=True)
class _Committed:
    """An index as one commit left it; a query is answered from one of these alone."""

    state: State
    settings: IndexSettings
    analysis: tantivy.TextAnalyzer
    schema: tantivy.Schema
    searcher: tantivy.Searcher
    synonyms: Synonyms
    vectors: Vectors

    def holds(self, product_id: str) -> bool:
        """Return whether a product is there."""
        return self.address(product_id) is not None

    def address(self, product_id: str) -> tantivy.DocAddress | None:
        """Return where a product is; None where it is not there."""
        query = tantivy.Query.term_query(self.schema, ID, product_id)
        hits = self.searcher.search(query, 1, count=False).hits
        return hits[0][1] if hits else None

    def found(self, query: str, vector: npt.NDArray[np.float32] | None, limit: int) -> dict[str, Found]:
        """Return the products of each list, best first."""
        words = words_of(query, self.analysis)[:MOST_WORDS]
        asked = {field: list_query(self.searcher, self.schema, field, words, self.synonyms) for field in LISTS}
        found = {field: best_keys(self.searcher, query, limit) for field, query in asked.items()}
        if vector is not None:
            rows = self.vectors.nearest(vector)
            found[VECTORS] = keys_of_rows(self.searcher, self.schema, rows, limit)
        return found


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
        self._now = _load(folder)
        self._encoder = _encoder(self._now.settings, None)

    @classmethod
    def open(cls, folder: str | Path) -> ProductIndex:
        """Open an index.

        Raises:
            BadInput: there is none, it is of another version, or its files are damaged.
        """
        return cls(Path(folder))

    @property
    def settings(self) -> IndexSettings:
        """Its language, and the model of its vectors."""
        return self._now.settings

    @property
    def synonyms(self) -> Synonyms:
        """Those of the shop, as they are now."""
        return self._newest().synonyms

    @property
    def lists(self) -> tuple[str, ...]:
        """The names of the lists that are fused."""
        return (*LISTS, VECTORS) if self.settings.vectors else LISTS

    def __len__(self) -> int:
        """Return how many products it holds."""
        return int(self._newest().searcher.num_docs)

    def candidates(self, query: str, limit: int = 256) -> list[ProductCandidate]:
        """Return the products that the lists find, fused by weighted reciprocal ranks, best first.

        Args:
            query: what the shopper typed; never read as query syntax.
            limit: how many at most, of each list and of all together.

        Raises:
            BadInput: the query has no text, the limit is below 1, the model of the vectors cannot be loaded, or the
                index is damaged.
        """
        now, found = self._ask(query, limit)
        with _damage_in_words(self.folder):
            places = {name: {key: rank for rank, key in enumerate(rows, start=1)} for name, rows in found.items()}
            where = {key: address for rows in found.values() for key, address in rows.items()}
            return [
                ProductCandidate(
                    product_in(now.searcher.doc(where[key])),
                    {name: ranks[key] for name, ranks in places.items() if key in ranks},
                )
                for key, _ in fused([list(rows) for rows in found.values()], [WEIGHTS[name] for name in found], limit)
            ]

    def listed(self, query: str, limit: int = 256) -> dict[str, list[str]]:
        """Return what each list finds by itself: the ids of its products, best first.

        Args:
            query: what the shopper typed.
            limit: how many of each list at most.

        Raises:
            BadInput: as `candidates`.
        """
        now, found = self._ask(query, limit)
        with _damage_in_words(self.folder):
            return {
                name: [product_in(now.searcher.doc(address)).product_id for address in rows.values()]
                for name, rows in found.items()
            }

    def _ask(self, query: str, limit: int) -> tuple[_Committed, dict[str, Found]]:
        """Return the index as it is now, and what its lists find."""
        query = clean(as_query(query)).strip()[:MOST_CHARACTERS]
        if limit < 1:
            raise BadInput(f"{limit} candidates cannot be found; ask for 1 or more")
        now = self._newest()
        most = min(limit, max(1, now.searcher.num_docs))  # room for all of them is made beforehand
        vector = self._encoder.encode([query])[0] if self._encoder else None
        with _damage_in_words(self.folder):
            return now, now.found(query, vector, most)

    def words(self, query: str) -> list[str]:
        """Return the words that are looked for: none, where a query has only signs and stop words."""
        return words_of(query, self._now.analysis)

    def gone(self, product_ids: Iterable[str]) -> set[str]:
        """Return those of the products that the index does not hold now."""
        now = self._newest()
        return {product_id for product_id in product_ids if not now.holds(product_id)}

    def products(self, product_ids: Sequence[str]) -> list[Product]:
        """Return those of the products that the index holds now, in this order.

        Raises:
            BadInput: the index is damaged.
        """
        now = self._newest()
        with _damage_in_words(self.folder):
            found = [now.address(product_id) for product_id in product_ids]
            return [product_in(now.searcher.doc(where)) for where in found if where is not None]

    def vectors_of(self, product_ids: Sequence[str]) -> npt.NDArray[np.float32] | None:
        """Return a vector for each product, `[n, dimensions]`; None where one has none, or no index has.

        Raises:
            BadInput: the index is damaged.
        """
        now = self._newest()
        if not now.settings.vectors or not product_ids:
            return None
        with _damage_in_words(self.folder):
            found = [where for product_id in product_ids if (where := now.address(product_id)) is not None]
            rows = now.searcher.fast_field_values(ROW, found)
        here = [int(row) for row in rows if row is not None]
        return now.vectors.at(here) if len(here) == len(product_ids) else None

    def _newest(self) -> _Committed:
        """Return the index as it is now: loaded again where something was committed, or put in its place."""
        state = _state(self.folder)
        # In the moment in which a new index takes the name of the old one nothing is there.
        if any(state) and state != self._now.state:
            self._now = _load(self.folder)
            self._encoder = _encoder(self._now.settings, self._encoder)
        return self._now


def open_words(folder: Path, settings: IndexSettings) -> tantivy.Index:
    """Open tantivy's part of an index.

    Raises:
        BadInput: its files are damaged or not there.
    """
    with _damage_in_words(folder):
        opened = tantivy.Index.open(str(folder / WORDS))
    opened.register_tokenizer(ANALYZER, analyzer(settings.language))
    return opened


def synonyms_of(text: str, language: str, file: Path) -> Synonyms:
    """Return the synonyms of a text, as words of the language.

    Args:
        text: lines of synonyms.
        language: of the index.
        file: that held the text, for the sentence about a bad line.

    Raises:
        BadInput: a line has no synonyms.
    """
    analysis = analyzer(language)
    return Synonyms.of(text, lambda part: words_of(part, analysis), str(file))


def _load(folder: Path) -> _Committed:
    """Load an index; where it is changed meanwhile, load it again, so that all of it is of one commit."""
    while True:
        state = _state(folder)
        try:
            loaded = _load_once(folder, state)
        except BadInput:
            if _state(folder) == state:
                raise
        else:
            if _state(folder) == state:
                return loaded


def _load_once(folder: Path, state: State) -> _Committed:
    settings = IndexSettings.read(folder)
    words = open_words(folder, settings)
    file = folder / SYNONYMS
    synonyms = synonyms_of(read_synonyms_text(file), settings.language, file) if file.exists() else Synonyms.none()
    vectors = Vectors(folder / VECTORS)
    return _Committed(state, settings, analyzer(settings.language), words.schema, words.searcher(), synonyms, vectors)


def _encoder(settings: IndexSettings, before: TextEncoder | None) -> TextEncoder | None:
    """Return the model of the vectors; the one that is loaded already, where it is the same."""
    if settings.vectors is None:
        return None
    return before if before and before.name == settings.vectors else TextEncoder(settings.vectors)


def _state(folder: Path) -> State:
    """Return what is another one after a commit; only None where nothing is there."""
    return tuple(_of_file(folder / name) for name in (f"{WORDS}/meta.json", SYNONYMS))


def _of_file(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


@contextmanager
def _damage_in_words(folder: Path) -> Iterator[None]:
    """Say in one sentence that tantivy cannot read its files.

    Raises:
        BadInput: they are damaged, or its lock cannot be taken.
    """
    try:
        yield
    except BadInput:
        raise
    except BaseException as error:
        # What tantivy does not expect in a file, it panics of, and that is no Exception.
        if not isinstance(error, ValueError) and type(error).__name__ != "PanicException":
            raise
        if "Lockfile" in str(error):
            raise BadInput(
                f"{folder}: cannot be opened ({first_line(error)}); whoever searches an index needs the right to write "
                "lock files into it"
            ) from error
        raise BadInput(
            f"{folder}: the index is damaged ({first_line(error)}); make it again: gen-rerank index DATA --out INDEX"
        ) from error
