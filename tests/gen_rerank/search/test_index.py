"""An index that is searched: which products a query finds, whatever the query is, and while others change the index."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gen_rerank import BadInput, Product
from gen_rerank.data.cleaning import clean
from gen_rerank.search.building import build_index, change_index
from gen_rerank.search.index import ProductIndex
from gen_rerank.search.lists import MOST_CHARACTERS
from gen_rerank.search.settings import IndexSettings

from .conftest import products, write_shop


def ids(index: ProductIndex, query: str, limit: int = 256) -> list[str]:
    return [one.product.product_id for one in index.candidates(query, limit)]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> ProductIndex:
    folder = tmp_path_factory.mktemp("shop")
    rows = [
        Product(product_id="desk", title="Oak writing desk", brand="Ancora", price=99.5, available=True),
        Product(product_id="lamp", title="Desk lamp", description="Stands on every oak table"),
        Product(product_id="sleeve", title='Laptop sleeve 16"', attributes={"material": "felt"}),
        Product(product_id="drive", title="Flash drive 128GB"),
        Product(product_id="emoji", title="Mug \U0001f600 \u05e1\u05e4\u05dc and AND (title:oak)"),
    ]
    build_index(write_shop(folder / "shop.jsonl", rows), folder / "index", IndexSettings())
    return ProductIndex.open(folder / "index")


def test_a_title_weighs_more_than_a_description_and_a_product_says_everything(shop: ProductIndex) -> None:
    assert ids(shop, "oak") == ["desk", "emoji", "lamp"]
    first = shop.candidates("oak desk")[0]
    assert first.product == Product(
        product_id="desk", title="Oak writing desk", brand="Ancora", price=99.5, available=True
    )
    assert first.ranks == {"title": 1, "full": 1}
    assert shop.candidates("felt")[0].ranks == {"full": 1}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("16 inch", "sleeve"),
        ("16in sleeves", "sleeve"),
        ("128 gb", "drive"),
        ("128gb", "drive"),
        ("sleve", "sleeve"),  # a slip
        ("labtop", "sleeve"),
        ("ancora", "desk"),
        ("ספל", "emoji"),
        ("MUG", "emoji"),
    ],
)
def test_numbers_units_slips_and_scripts_meet(shop: ProductIndex, query: str, found: str) -> None:
    assert ids(shop, query)[0] == found


@pytest.mark.parametrize("query", ["", "   ", "\0", "\u200b", "<br>"])
def test_a_query_without_text_is_refused(shop: ProductIndex, query: str) -> None:
    with pytest.raises(BadInput, match="the query has no text"):
        shop.candidates(query)


@pytest.mark.parametrize(
    "query",
    ["!!!", "\U0001f600", "the and of", 'body:"', "xyzzy", "(((", "zz* AND -(", "\\", "[a TO b]", "a" * 5000],
)
def test_a_query_without_known_words_finds_nothing(shop: ProductIndex, query: str) -> None:
    assert ids(shop, query) == []


def test_operators_are_words_or_nothing(shop: ProductIndex) -> None:
    assert ids(shop, "-oak") == ids(shop, "oak") == ids(shop, "oak AND NOT oak") == ids(shop, "+(oak)^9 ~")
    assert ids(shop, "full:felt") == ["sleeve"]
    assert ids(shop, "*") == []


def test_ten_thousand_words_are_one_query(shop: ProductIndex) -> None:
    assert ids(shop, "oak " * 10_000) == ids(shop, "oak")
    assert ids(shop, " ".join(f"qqzx{1000 + i}" for i in range(10_000))) == []
    assert "desk" in ids(shop, "desk " + " ".join("abcdefgh"[i % 8] * 5 + "qrstuvwx"[i % 7] for i in range(10_000)))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    query=st.text(max_size=60)
    | st.lists(st.sampled_from(["oak", "desk", "AND", '"', "*", "(", "~2", "^", ":", "\0"])).map(" ".join),
    limit=st.integers(1, 5),
)
def test_any_text_finds_products_or_is_bad_input(shop: ProductIndex, query: str, limit: int) -> None:
    if not clean(query).strip():
        with pytest.raises(BadInput, match="the query has no text"):
            ids(shop, query, limit)
        return
    found = ids(shop, query, limit)
    assert len(found) == len(set(found)) <= limit


@pytest.mark.parametrize("query", ["a" * 2**20, "1" * 2**20, "a1" * 2**19, "16 in " * 10**5, "oak'" * 2**18])
def test_a_million_characters_are_one_query(shop: ProductIndex, query: str) -> None:
    assert ids(shop, query) == ids(shop, query[:MOST_CHARACTERS])


def test_limits(shop: ProductIndex) -> None:
    assert ids(shop, "oak", 1) == ["desk"]
    assert len(ids(shop, "oak", 10**12)) == 3  # room is made for as many as there are
    with pytest.raises(BadInput, match="0 candidates cannot be found; ask for 1 or more"):
        shop.candidates("oak", 0)


def test_equal_products_are_in_the_same_order_whenever_they_are_added(tmp_path: Path) -> None:
    rows = products(**{f"p{i}": "Oak desk" for i in range(9)})
    orders = []
    for name, part in (("one", rows), ("other", rows[::-1])):
        build_index(write_shop(tmp_path / f"{name}.jsonl", part), tmp_path / name, IndexSettings())
        orders.append(ids(ProductIndex.open(tmp_path / name), "desk"))
    assert orders[0] == orders[1]


def test_synonyms_work_on_queries_in_their_direction(make_index: Callable[..., Path]) -> None:
    lines = "sofa, couch\ntelly => flat screen, tv\nb&b => bed and breakfast\n"
    titles = {"a": "Grey couch", "b": "Flat screen", "c": "TV", "d": "Bed and breakfast sign", "e": "Breakfast bed"}
    index = ProductIndex.open(make_index(synonyms=lines, **titles, f="Telly"))
    assert ids(index, "sofa") == ["a"]
    assert set(ids(index, "telly")) == {"b", "c", "f"}
    assert ids(index, "tv") == ["c"]
    assert ids(index, "B&B") == ["d"]  # a stop word stands between, and "breakfast bed" is something else


def test_a_language_is_that_of_the_index(make_index: Callable[..., Path]) -> None:
    german = ProductIndex.open(make_index(IndexSettings(language="german"), a="Runde Tische", b="Stuhl"))
    assert ids(german, "runder tisch") == ["a"]
    assert german.settings.language == "german"


def test_a_query_sees_what_was_committed_before_it(make_index: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_index(a="Oak desk", b="Oak table")
    index = ProductIndex.open(folder)
    assert (len(index), index.gone(["a", "c"])) == (2, {"c"})
    change_index(folder, add=write_shop(tmp_path / "new.jsonl", products(a="Elm desk", c="Oak chair")), delete=["b"])
    assert ids(index, "oak") == ["c"]
    assert ids(index, "elm") == ["a"]
    assert (len(index), index.gone(["a", "b"])) == (2, {"b"})
    synonyms = tmp_path / "new.txt"
    synonyms.write_text("timber => elm\n")
    change_index(folder, synonyms=synonyms)
    assert ids(index, "timber") == ["a"]
    synonyms.write_text("")
    change_index(folder, synonyms=synonyms)
    assert ids(index, "timber") == []
    build_index(write_shop(tmp_path / "other.jsonl", products(z="Oak bed")), folder, IndexSettings("none"))
    assert ids(index, "oak") == ["z"]
    assert index.settings.language == "none"


def test_an_open_index_answers_while_its_folder_is_away(make_index: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_index(a="Oak desk")
    index = ProductIndex.open(folder)
    folder.rename(tmp_path / "away")
    assert ids(index, "oak") == ["a"]
    (tmp_path / "away").rename(folder)
    assert ids(index, "oak") == ["a"]


def test_readers_and_openers_meet_one_commit_or_the_next_and_no_mixture(
    make_index: Callable[..., Path], tmp_path: Path
) -> None:
    """Every commit has ten products of one colour; rebuilt, they are of the other one."""
    folder = make_index(**{f"p{i}": "red desk" for i in range(10)})
    files = {
        colour: write_shop(tmp_path / f"{colour}.jsonl", products(**{f"p{i}": f"{colour} desk" for i in range(10)}))
        for colour in ("red", "blue")
    }
    found: list[tuple[int, str]] = []
    over = threading.Event()

    shared = ProductIndex.open(folder)

    def read(again: bool) -> None:
        index = shared
        while not over.is_set():
            if again:  # this one opens the index again and again
                index = ProductIndex.open(folder)
            titles = [one.product.title for one in index.candidates("desk")]
            found.append((len(titles), " ".join(sorted(set(titles)))))

    readers = [threading.Thread(target=read, args=(again,)) for again in (False, False, True)]
    for reader in readers:
        reader.start()
    for turn in range(6):
        colour = ("blue", "red")[turn % 2]
        if turn % 3 == 2:
            build_index(files[colour], folder, IndexSettings())
        else:
            change_index(folder, add=files[colour])
    over.set()
    for reader in readers:
        reader.join()
    assert set(found) <= {(10, "red desk"), (10, "blue desk")}
    assert {title for _, title in found} == {"red desk", "blue desk"}


def test_a_folder_in_which_no_lock_can_be_written_is_not_called_damaged(make_index: Callable[..., Path]) -> None:
    folder = make_index(a="Oak desk")
    lock = folder / "words" / ".tantivy-meta.lock"
    lock.unlink(missing_ok=True)
    lock.mkdir()  # nobody may write it, not even root
    with pytest.raises(BadInput, match=r"index: cannot be opened \(.*\); whoever searches an index needs the right"):
        ProductIndex.open(folder)


@pytest.mark.parametrize("how", ["gone", "empty", "turned"])
@pytest.mark.parametrize("ending", ["words/meta.json", ".term", ".store", ".idx", ".fast"])
def test_damage_is_one_sentence(make_index: Callable[..., Path], tmp_path: Path, how: str, ending: str) -> None:
    folder = make_index(**{f"p{i}": f"oak desk {i}" for i in range(50)})
    (file,) = (file for file in folder.rglob("*") if str(file).endswith(ending) and file.name != ".managed.json")
    raw = file.read_bytes()
    if how == "gone":
        file.unlink()
    else:
        file.write_bytes(b"" if how == "empty" else bytes(255 - byte for byte in raw[:-150]) + raw[-150:])
    with pytest.raises(BadInput, match=r"index: the index is damaged \(.*\); make it again: gen-rerank index DATA"):
        ProductIndex.open(folder).candidates("oak desk")
    with pytest.raises(BadInput, match="index: the index is damaged"):
        change_index(folder, delete=["p1"]) if how != "turned" else ProductIndex.open(folder).candidates("oak desk")
    shutil.rmtree(folder / "words")
    with pytest.raises(BadInput, match="index: the index is damaged"):
        ProductIndex.open(folder)
