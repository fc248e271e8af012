"""Books of the rating tool Quepid: a small one that is made up, and what an import must count in any of them."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

from gen_rerank.errors import BadInput
from messy_feed import BRANDS, COLOURS, KINDS

RATERS = ("ann", "bob", "eve")
_SHOWN = 10  # products of a query
_SLIP, _UNRATEABLE, _UNJUDGED = 0.1, 0.02, 0.1


def write_book(path: Path, seed: int = 0) -> Path:
    """Write a small book in the form of Quepid's own export, and return its file.

    Who asks for a colour and a kind gets 3 for both, 1 for the kind alone, 0 for the rest; one vote in ten is a grade
    off. Some votes are unrateable, and some pairs have none.

    Args:
        path: of the file.
        seed: the same one writes the same bytes.
    """
    draw = random.Random(seed)
    kinds = [(colour, kind) for kind in KINDS for colour in COLOURS]
    products = [(brand, *one) for one in kinds for brand in BRANDS]
    pairs = []
    for wanted in kinds:
        alike = [number for number, (_, *one) in enumerate(products) if one[1] == wanted[1]]
        others = draw.sample([number for number in range(len(products)) if number not in alike], _SHOWN // 2)
        for position, number in enumerate(draw.sample(alike, _SHOWN - len(others)) + others, start=1):
            brand, *found = products[number]
            grade = 3 if tuple(found) == wanted else 1 if found[1] == wanted[1] else 0
            title = f"{brand} {found[0].capitalize()} {found[1].capitalize()}"
            pairs.append(
                {
                    "query_text": " ".join(wanted),
                    "doc_id": str(1000 + number),
                    "position": position,
                    "document_fields": json.dumps({"title": title, "brand": brand}),
                    "information_need": f"A {wanted[1]} that is {wanted[0]}.",
                    "judgements": [] if draw.random() < _UNJUDGED else _votes(grade, draw),
                }
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    book = {"name": "A made-up book", "scorer": {"name": "nDCG@10"}, "query_doc_pairs": pairs}
    path.write_text(json.dumps(book) + "\n", encoding="utf-8")
    return path


def _votes(grade: int, draw: random.Random) -> list[dict[str, Any]]:
    votes = []
    for rater in RATERS[: draw.randint(1, len(RATERS))]:
        slip = draw.choice((-1, 1)) if draw.random() < _SLIP else 0
        unrateable = draw.random() < _UNRATEABLE
        rating = None if unrateable else float(min(max(grade + slip, 0), 3))
        votes.append({"rating": rating, "unrateable": unrateable, "judge_later": False, "rater": rater})
    return votes


def must_count(path: Path) -> dict[str, int]:
    """Return what the report of an import must say of a book: pairs, votes, judgments, and what was refused.

    Args:
        path: the book, gzipped or not.

    Raises:
        BadInput: it is no book.
    """
    try:
        content = path.read_bytes()
        book = json.loads(gzip.decompress(content) if path.suffix == ".gz" else content)
        pairs = [(pair["query_text"], pair["doc_id"], pair["judgements"]) for pair in book["query_doc_pairs"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path}: no book of Quepid's; export one as JSON ({error!r})") from error
    votes = [(query, key, vote) for query, key, given in pairs for vote in given]
    usable = [(query, key) for query, key, vote in votes if vote["rating"] is not None and not vote["unrateable"]]
    return {
        "pairs read": len(pairs),
        "votes read": len(votes),
        "votes refused": len(votes) - len(usable),
        "products written": len({key for _, key, _ in pairs}),
        "queries written": len({query for query, _, _ in pairs}),
        "judgments written": len(set(usable)),
    }


def counted(report: dict[str, Any]) -> dict[str, int]:
    """Return the same of a report, as `--report` writes it."""
    kept = {f"{what} written": report["kept"].get(what, 0) for what in ("products", "queries", "judgments")}
    read = {f"{what} read": report["read"].get(what, 0) for what in ("pairs", "votes")}
    return {**read, "votes refused": sum(report["refused"].values()), **kept}
