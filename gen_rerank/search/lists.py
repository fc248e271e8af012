"""One list of products for the words of a query: BM25 over one field, by tantivy.

A word that almost no product has is also looked for with a letter changed, and what it means besides by the synonyms.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import tantivy
from tantivy import Occur, Query

from gen_rerank.search.fields import KEY, ROW
from gen_rerank.search.synonyms import Synonyms

# More than that no shopper types; what stands behind it is not looked for.
MOST_WORDS = 128
MOST_CHARACTERS = 8192
# A word of so few products may be a slip of the fingers.
_RARE = 3
_LONG_ENOUGH, _TOO_LONG = 4, 40  # three letters have too many neighbours, and a thousand take a second to look for
_TWO_SLIPS_FROM = 9
# Of the weight that the rarest words have: about what an ordinary word has.
_NEAR_SHARE = 1 / 3


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
        ways = meant.get(place, [])
        if word not in words[:place]:
            ways = [_word(searcher, schema, field, word), *ways]
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


def keys_of_rows(
    searcher: tantivy.Searcher, schema: tantivy.Schema, rows: Sequence[int], limit: int
) -> dict[int, tantivy.DocAddress]:
    """Return the first products whose vectors are in these rows: by their keys, where they are.

    Args:
        searcher: of the index.
        schema: of the index.
        rows: best first; one that no product names is passed over.
        limit: how many products at most.
    """
    found: dict[int, tantivy.DocAddress] = {}
    for first in range(0, len(rows), limit):
        part = rows[first : first + limit]
        addresses = [where for _, where in searcher.search(Query.term_set_query(schema, ROW, part), limit).hits]
        keys, places = (searcher.fast_field_values(name, addresses) for name in (KEY, ROW))
        by_row = {row: (cast(int, key), where) for row, key, where in zip(places, keys, addresses, strict=True)}
        found.update(by_row[row] for row in part if row in by_row)
        if len(found) >= limit:
            break
    return dict(list(found.items())[:limit])


def _word(searcher: tantivy.Searcher, schema: tantivy.Schema, field: str, word: str) -> Query:
    """Return what asks for a word, and where almost no product has it also for its neighbours.

    tantivy gives a neighbour a fixed score, and the word itself is one of its neighbours: so with the sum of both a
    product that has the word is always before one that has a neighbour.
    """
    exact = Query.term_query(schema, field, word)
    if not _LONG_ENOUGH <= len(word) <= _TOO_LONG or not word.isalpha() or searcher.doc_freq(field, word) >= _RARE:
        return exact
    slips = 2 if len(word) >= _TWO_SLIPS_FROM else 1
    near = Query.fuzzy_term_query(schema, field, word, distance=slips)
    rarest = math.log(1 + (max(1, searcher.num_docs) - 0.5) / 1.5)  # BM25's weight of a word that one product has
    return Query.boolean_query([(Occur.Should, exact), (Occur.Should, Query.boost_query(near, _NEAR_SHARE * rarest))])


def _run(schema: tantivy.Schema, field: str, words: Sequence[str]) -> Query:
    """Return a word, or several one behind the other; one may stand between, as a stop word does in "bed and bath"."""
    if len(words) == 1:
        return Query.term_query(schema, field, words[0])
    return Query.phrase_query(schema, field, list(words), slop=1)
