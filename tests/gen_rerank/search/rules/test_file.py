"""A rule file is read, or refused in one sentence with the nearest name."""

from __future__ import annotations

from pathlib import Path

import pytest

from gen_rerank import BadInput
from gen_rerank.search.rules.file import RULES, Rules

WHOLE = """
caps: {most: {brand: 3, seller: 2}, first: 12}
available: strict
price: {min: 5, max: 500, unknown: remove}
blocked:
  - {ids: [p17], reason: recalled}
  - {brands: [Hexlin], markets: [DE, at]}
compliance:
  - {categories: [Kitchen > Knives], min_age: 18, not_in: [IE]}
query: {attributes: [Shoe Size], excluded_brands: true}
variants: {by: [brand, model]}
min_tier: close
boosts:
  - {brands: [Oakhollow], by: 0.1}
diversity: {method: dpp, strength: 0.2}
pins:
  - {queries: [oak desk], ids: [p1, 2]}
too_little: {products: 3, give_up: [price, min_tier]}
"""


def read(tmp_path: Path, text: str) -> Rules:
    file = tmp_path / "rules.yaml"
    file.write_text(text, encoding="utf-8")
    return Rules.read(file)


def test_a_whole_file_in_whatever_order_is_applied_in_one(tmp_path: Path) -> None:
    rules = read(tmp_path, WHOLE)
    assert rules.used == RULES
    assert RULES == (
        "available", "price", "blocked", "compliance", "query", "variants", "min_tier", "boosts", "diversity", "pins",
        "caps",
    )  # fmt: skip
    assert rules.blocked[1].markets == ("de", "at")
    assert rules.pins[0].ids == ("p1", "2")
    assert rules.without("price", "caps").used == tuple(name for name in RULES if name not in ("price", "caps"))
    assert rules.only("caps") == Rules(caps=rules.caps)


def test_an_empty_file_has_no_rules(tmp_path: Path) -> None:
    assert read(tmp_path, "# none yet\n") == Rules()
    assert Rules().used == ()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("blockd: []", "rules.yaml: unknown key 'blockd'; did you mean 'blocked'?"),
        ("blocked: [{brandz: [a]}]", "rules.yaml: blocked.0: unknown key 'brandz'; did you mean 'brands'?"),
        ("caps: {mots: {brand: 1}, most: {brand: 1}}", "caps: unknown key 'mots'; did you mean 'most'?"),
        ("xyzzy: 1", "rules.yaml: unknown key 'xyzzy'"),
        ("blocked: [{reason: x}]", "blocked.0: is about no products; give ids, brands, categories or words"),
        ("compliance: [{ids: [p]}]", "compliance.0: has no condition; give min_age, only_in or not_in"),
        ("price: {min: 9, max: 5}", "price: no price is at least 9 and at most 5; exchange min and max"),
        ("price: {min: .nan}", "price.min: "),
        ("price: {max: -1}", "price.max: "),
        ("min_tier: best", "min_tier: "),
        ("caps: {most: {}}", "caps.most: "),
        ("caps: {most: {brand: 0}}", "caps.most.brand: "),
        ("boosts: [{brands: [a], by: 2}]", "boosts.0.by: "),
        ("diversity: {strength: 1.5}", "diversity.strength: "),
        ("too_little: {give_up: [blocked]}", "too_little.give_up.0: "),
        ("query: {attributes: size}", "query.attributes: give a list, also of a single field"),
        ("pins: [{queries: [x], ids: ['']}]", "pins.0.ids.0: has no text"),
        ("- a list", "rules are a mapping of keys such as blocked and caps, not a list"),
        ("a: [", "not valid YAML"),
    ],
)
def test_what_is_refused(text: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput) as refused:
        read(tmp_path, text)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)
