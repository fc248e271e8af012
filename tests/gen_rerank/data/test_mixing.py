"""Mixing: whole queries, drawn by text and seed alone; what is held out is never trained on; rows stay as they are."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from gen_rerank import BadInput, Dataset, Judgment, Product, Query
from gen_rerank.data.importing.splitting import folded
from gen_rerank.data.mixing import MixPlan, mix, read_splits
from tests.conftest import complaint


def shop(folder: Path, sizes: dict[str, int], splits: dict[str, str] | None = None, needs: str = "") -> Path:
    """A shop in which the query of each text has so many judged products; one product more, nobody judged."""
    products = {f"p{i}": Product(product_id=f"p{i}", title=f"Thing {i}") for i in range(max(sizes.values()) + 1)}
    split_of = {text: (splits or {}).get(text, "train") for text in sizes}
    queries = {
        f"q{i}": Query(query_id=f"q{i}", text=text, split=split_of[text], tags=("plain",))
        for i, text in enumerate(sizes)
    }
    judgments = [
        Judgment(query_id=key, product_id=f"p{i}", relevance=0.5, labels=(0.4, 0.6))
        for key, row in queries.items()
        for i in range(sizes[row.text])
    ]
    folder.mkdir(parents=True)
    Dataset(products, queries, tuple(judgments)).save(folder)
    if needs:
        (folder / "needs.jsonl").write_text(needs, encoding="utf-8")
    return folder


def test_ids_get_the_folders_name_and_all_else_stays(tmp_path):
    needs = '{"query_id": "q0", "need": "to sit at"}\n{"query_id": "q1", "need": "to see by"}\n'
    one = shop(tmp_path / "one", {"desk": 1, "lamp": 2}, {"lamp": "test"}, needs)
    two = shop(tmp_path / "two", {"desk": 3}, {"desk": "validation"})
    report = mix([one, two], tmp_path / "out", MixPlan(only=("train", "validation")))
    found = Dataset.load(tmp_path / "out")
    assert list(found.products) == ["one/p0", "two/p0", "two/p1", "two/p2"]
    assert found.products["two/p2"] == Product(product_id="two/p2", title="Thing 2")
    assert list(found.queries.values()) == [
        Query(query_id="one/q0", text="desk", split="train", tags=("plain",)),
        Query(query_id="two/q0", text="desk", split="validation", tags=("plain",)),
    ]
    assert found.judgments[0] == Judgment(query_id="one/q0", product_id="one/p0", relevance=0.5, labels=(0.4, 0.6))
    assert (tmp_path / "out" / "needs.jsonl").read_text() == '{"query_id":"one/q0","need":"to sit at"}\n'
    assert [one.counts() for one in report.folders] == [
        {"train": (1, 1), "validation": (0, 0), "test": (0, 0)},
        {"train": (0, 0), "validation": (1, 3), "test": (0, 0)},
    ]
    assert [one.left_out for one in report.folders] == [2, 0]
    assert report.torn == ("desk",)


def test_products_that_nobody_judged_stay_if_asked_for(tmp_path):
    one = shop(tmp_path / "one", {"desk": 1})
    mix([one], tmp_path / "out", MixPlan(all_products=True))
    assert list(Dataset.load(tmp_path / "out").products) == ["one/p0", "one/p1"]


def test_a_sample_keeps_the_shares_of_the_folders(tmp_path, capsys):
    one = shop(tmp_path / "one", {f"query {i}": 2 for i in range(30)})
    two = shop(tmp_path / "two", {f"other {i}": 2 for i in range(10)})
    report = mix([one, two], tmp_path / "out", MixPlan(pairs=21))
    # 21 x 60/80 is 15, 21 x 20/80 is 5, and a query has two
    assert [one.counts()["train"] for one in report.folders] == [(7, 14), (2, 4)]
    Console(width=120).print(report.table())
    assert "│ all    │ 9 / 18 │" in capsys.readouterr().out


sizes = st.dictionaries(st.text("abc", min_size=1, max_size=3), st.integers(1, 4), min_size=2, max_size=8)


@given(sizes, sizes, st.integers(0, 3), st.integers(8, 40))
def test_queries_are_whole_and_what_is_held_out_is_not_trained_on(tmp_path_factory, first, second, seed, pairs):
    folder = tmp_path_factory.mktemp("mix")
    shops = [shop(folder / "one", first), shop(folder / "two", second)]
    try:
        mix(shops, folder / "out", MixPlan(hold_out=0.3, pairs=pairs, seed=seed))
    except BadInput as error:
        assert "not one whole training query" in str(error)  # noqa: PT017
        return
    found = Dataset.load(folder / "out")
    assert {row.split for row in found.queries.values()} == {"train", "validation"}
    assert len(found.of("train").judgments) <= pairs
    whole = {f"one/{text}": size for text, size in first.items()} | {f"two/{t}": size for t, size in second.items()}
    for key, rows in found.by_query().items():
        assert len(rows) == whole[f"{key.split('/')[0]}/{found.queries[key].text}"]
    trained, held = (
        {folded(row.text) for row in found.of(split).queries.values()} for split in ("train", "validation")
    )
    assert not trained & held
    mix(shops, folder / "again", MixPlan(hold_out=0.3, pairs=pairs, seed=seed))
    assert Dataset.load(folder / "again").fingerprint == found.fingerprint
    mix(shops, folder / "more", MixPlan(hold_out=0.3, pairs=pairs + 5, seed=seed))
    more = Dataset.load(folder / "more")
    assert {*found.of("train").queries} <= {*more.of("train").queries}
    assert [*found.of("validation").queries] == [*more.of("validation").queries]


def test_held_out_are_training_queries_and_no_others(tmp_path):
    texts = {f"query {i}": 1 for i in range(12)}
    one = shop(tmp_path / "one", texts, {"query 0": "validation", "query 1": "test"})
    report = mix([one], tmp_path / "out", MixPlan(hold_out=0.2))
    assert report.folders[0].counts() == {"train": (8, 8), "validation": (2, 2), "test": (0, 0)}
    assert not {"query 0", "query 1"} & {row.text for row in Dataset.load(tmp_path / "out").queries.values()}


def test_a_folder_may_be_named_by_a_link_or_a_point(tmp_path, monkeypatch):
    one = shop(tmp_path / "one", {"desk": 1})
    (tmp_path / "link").symlink_to(one)
    monkeypatch.chdir(one)
    mix([tmp_path / "link", Path()], tmp_path / "out", MixPlan())
    assert list(Dataset.load(tmp_path / "out").queries) == ["link/q0", "one/q0"]


def test_what_the_shell_shows(run, tmp_path):
    one = shop(tmp_path / "one", {"desk": 1, "lamp": 1})
    code, out, _ = run("mix", one, "--out", tmp_path / "table")
    assert (code, "2 / 2" in out) == (0, True)
    code, out, err = run("mix", one, "--out", tmp_path / "json", "--json", "--hold-out", "0.5")
    (folder,) = json.loads(out)["folders"]
    assert (code, err, folder["splits"]["validation"]) == (0, "", {"queries": 1, "pairs": 1})


def test_bad_rows_are_left_out_if_asked_for(run, tmp_path):
    one = shop(tmp_path / "one", {"desk": 1, "lamp": 2})
    with (one / "products.jsonl").open("a") as file:
        file.write('{"product_id": "x"}\n{"product_id": "p2", "title": "again"}\n')
    assert "products.jsonl:4: column 'title' is missing (and 1 more)" in complaint(
        run("mix", one, "--out", tmp_path / "out")
    )
    code, out, _ = run("mix", one, "--out", tmp_path / "out", "--skip-bad-rows")
    assert code == 0
    assert "products.jsonl:5: p2 was already given in line 3" in out
    assert "2 bad rows left out" in out


def test_what_goes_wrong_is_one_sentence_and_nothing_is_written(run, tmp_path):
    one = shop(tmp_path / "one", {"desk": 3})
    catalog = tmp_path / "catalog"
    catalog.mkdir()
    (catalog / "products.jsonl").write_text('{"product_id": "p", "title": "Desk"}\n')
    namesake = shop(tmp_path / "below" / "one", {"desk": 1})
    before = sorted(path.name for path in tmp_path.iterdir())
    out = ("--out", tmp_path / "new" / "out")
    assert "are both called 'one'" in complaint(run("mix", one, namesake, *out))
    assert "no such folder" in complaint(run("mix", tmp_path / "nowhere", *out))
    assert "has no judgments.jsonl" in complaint(run("mix", catalog, *out))
    assert "no query of the split 'test' has a judgment; judged queries: train has 1" in complaint(
        run("mix", one, *out, "--only", "test")
    )
    assert "there is no split 'dev'" in complaint(run("mix", one, *out, "--only", "train,dev"))
    assert "a share between 0 and 1" in complaint(run("mix", one, *out, "--hold-out", "1"))
    assert "a share between 0 and 1" in complaint(run("mix", one, *out, "--hold-out", "nan"))
    assert "--only has nothing to say" in complaint(run("mix", one, *out, "--hold-out", "0.2", "--only", "train"))
    assert "--only takes none" in complaint(run("mix", one, *out, "--pairs", "9", "--only", "test"))
    assert "of 1 training query none" in complaint(run("mix", one, *out, "--hold-out", "0.2"))
    assert "not one whole training query" in complaint(run("mix", one, *out, "--pairs", "2"))
    assert "already exists" in complaint(run("mix", one, "--out", one))
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_splits_as_people_write_them():
    assert read_splits(None) == ("train", "validation", "test")
    assert read_splits("test,train") == ("train", "test")
