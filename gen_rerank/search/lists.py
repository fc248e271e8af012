"""One list of products for the words of a query: BM25 over one field, by tantivy.

A word that almost no product has is also looked for with a letter changed, and what it means besides by the synonyms.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import tantivy
from tantivy import Occur, Query

from gen_rerank.search.fields import KEY
from gen_rerank.search.synonyms import Synonyms

# More words than that no shopper types; what stands behind them is not looked for.
MOST_WORDS = 128
# A word of so few products may be a slip of the fingers.
_RARE = 3
_LONG_ENOUGH = 4  # a word of three letters has too many neighbours
_TWO_SLIPS_FROM = 9
# tantivy gives a word found so the score 1, where a rare word that is met has about 10.
_FUZZY_WEIGHT = 3.0


def list_query(searcher: tantivy.Searcher, schema: tantivy.Schema, field: str, words: Sequence[str],
               synonyms: Synonyms) -> Query:  # fmt: skip
    """Return what a field is asked for: any of the words, with what they mean besides.

    Args:
        searcher: knows how many products have a word.
        schema: of the index.
        field: `title` or `full`.
        words: of the query, as the index has them.
        synonyms: of the shop.
    """
    meant: dict[int, list[Query]] = {}
    for start, _, others in synonyms.found(words):
        meant.setdefault(start, []).extend(_run(schema, field, other) for other in others)
    clauses: list[Query] = []
    for place, word in enumerate(words):
        ways = [*_ways(searcher, schema, field, word), *meant.get(place, [])]
        if word in words[:place]:
            ways = meant.get(place, [])
        if ways:
            clauses.append(ways[0] if len(ways) == 1 else Query.disjunction_max_query(ways))
    return Query.boolean_query([(Occur.Should, clause) for clause in clauses])


def best_keys(searcher: tantivy.Searcher, query: Query, limit: int) -> dict[int, tantivy.DocAddress]:
    """Return the best products of a list, best first: by their keys, where they are; of equals, the smaller key first.

    Args:
        searcher: of the index.
        query: as `list_query` makes it.
        limit: how many at most.
    """
    hits = searcher.search(query, limit, count=False).hits
    keys = searcher.fast_field_values(KEY, [address for _, address in hits])
    ordered = sorted(zip(hits, keys, strict=True), key=lambda found: (-found[0][0], found[1]))
    return {cast(int, key): address for (_, address), key in ordered}


def _ways(searcher: tantivy.Searcher, schema: tantivy.Schema, field: str, word: str) -> list[Query]:
    """Return the word, and where almost no product has it also its neighbours."""
    exact = Query.term_query(schema, field, word)
    if len(word) < _LONG_ENOUGH or not word.isalpha() or searcher.doc_freq(field, word) >= _RARE:
        return [exact]
    slips = 2 if len(word) >= _TWO_SLIPS_FROM else 1
    near = Query.fuzzy_term_query(schema, field, word, distance=slips)
    return [exact, Query.boost_query(near, _FUZZY_WEIGHT)]


def _run(schema: tantivy.Schema, field: str, words: Sequence[str]) -> Query:
    """Return a word, or several one behind the other."""
    if len(words) == 1:
        return Query.term_query(schema, field, words[0])
    return Query.phrase_query(schema, field, list(words))
