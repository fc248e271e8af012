"""What is written of a product is what comes back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gen_rerank import Product
from gen_rerank.search.fields import FULL, PRODUCT, TITLE, document_of, key_of, product_in

TEXT = st.text(min_size=1, max_size=20).map(lambda text: f"a{text}")


@given(
    st.builds(
        Product, product_id=TEXT, title=TEXT, brand=st.none() | TEXT, description=st.none() | TEXT,
        attributes=st.dictionaries(TEXT, TEXT, max_size=3), price=st.none() | st.floats(0, 1e6),
        available=st.none() | st.booleans(),
    )
)  # fmt: skip
def test_a_product_comes_back_as_it_was(product: Product) -> None:
    assert product_in(document_of(product)) == product


def test_both_lists_have_the_title_and_one_has_the_rest() -> None:
    written = document_of(
        Product(product_id="p", title='Desk 16"', brand="Ancora", attributes={"width": "120cm"}, description="Oak.")
    )
    assert written[TITLE] == ["Desk 16inch 16 inch"]
    assert written[FULL] == ["Desk 16inch 16 inch Ancora width 120cm 120 cm Oak."]
    assert b'"product_id":"p"' in written[PRODUCT][0]


def test_a_key_has_63_bits_and_is_the_same_everywhere() -> None:
    assert key_of("p1") == 8361833091136382792
    assert all(0 <= key_of(f"p{i}") < 2**63 for i in range(1000))
    assert len({key_of(f"p{i}") for i in range(1000)}) == 1000
