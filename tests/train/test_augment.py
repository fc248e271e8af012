import random
import re

from hypothesis import example, given
from hypothesis import strategies as st

from gen_rerank import Pair, Product
from train.augment import Augment, augmented, invented_word, mistyped

DESK = Product(product_id="1", title="Norvane Oak Desk", brand="Norvane", attributes={"fits": "norvane 2"})
LAMP = Product(product_id="2", title="Lamp", brand="Unbranded", description="Goes with Norvane desks.")
PAIRS = [Pair("norvane desk", DESK), Pair("desk not Norvane", DESK), Pair("unbranded lamp", LAMP)]


def test_nothing_changes_by_default():
    assert augmented(PAIRS, Augment(), seed=0) == PAIRS


def test_a_brand_gets_one_new_name_in_the_product_and_in_all_its_queries():
    desk, other, _ = augmented(PAIRS, Augment(rename_brands=1.0, keep_brands=("Unbranded",)), seed=0)
    name = desk.product.brand
    assert name != "Norvane"
    assert desk.product.title == f"{name} Oak Desk"
    assert desk.product.attributes == {"fits": f"{name} 2"}
    assert desk.query == f"{name} desk"
    assert other.query == f"desk not {name}"


def test_a_name_that_means_something_is_kept():
    lamp = augmented(PAIRS, Augment(rename_brands=1.0, keep_brands=("Unbranded",)), seed=0)[2]
    assert (lamp.product.brand, lamp.query) == ("Unbranded", "unbranded lamp")


def test_a_brand_inside_a_word_is_no_brand():
    pair = Pair("norvanely", DESK)
    assert augmented([pair], Augment(rename_brands=1.0), seed=0)[0].query == "norvanely"


def test_fillers_stand_around_the_query():
    (pair, *_) = augmented(PAIRS, Augment(fillers=1.0), seed=0)
    assert "norvane desk" in pair.query
    assert 3 <= len(pair.query.split()) <= 5


def test_one_two_or_all_fields_are_dropped_and_the_title_stays():
    full = DESK.model_copy(update={"category": "Desks"})
    seen = set()
    for seed in range(60):
        product = augmented([Pair("desk", full)], Augment(drop_fields=1.0), seed=seed)[0].product
        assert product.title == full.title
        seen.add((product.brand is None, product.category is None, not product.attributes))
    assert len(seen) == 7, "each way to miss something, and never nothing"
    assert (False, False, False) not in seen


def test_the_same_seed_gives_the_same_copy():
    settings = Augment(rename_brands=0.5, typos=0.5, fillers=0.5)
    assert augmented(PAIRS, settings, seed=3) == augmented(PAIRS, settings, seed=3)
    assert any(augmented(PAIRS, settings, seed=3) != augmented(PAIRS, settings, seed=k) for k in range(4, 9))


@given(st.text(max_size=40), st.integers(0, 99))
@example("AAAAAAB", 92)
def test_a_typo_changes_one_word_at_most_and_never_its_first_letter(text, seed):
    """The last one moves when it changes places with the one before."""
    before, after = text.split(), mistyped(text, random.Random(seed)).split()
    assert len(before) == len(after)
    changed = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    assert len(changed) <= 1
    for a, b in changed:
        assert a[0] == b[0]
        assert a[-1] == b[-1] or (a[-2:] == b[:-3:-1] and a[:-2] == b[:-2])
        assert abs(len(a) - len(b)) <= 1


def test_an_invented_word_is_a_word():
    rng = random.Random(0)
    assert all(re.fullmatch("[a-z]{2,12}", invented_word(rng)) for _ in range(200))
