"""The report: counts that are exact, examples that can be seen, and no markup in values."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path

from rich.console import Console

from gen_rerank.data.importing.report import ImportReport, columns_said, names_listed, shortened, times_listed


def shown(report: ImportReport) -> str:
    file = io.StringIO()
    Console(file=file, width=160).print(report.table())
    return file.getvalue()


def test_counts_are_exact_and_examples_the_first_three() -> None:
    report = ImportReport("feed.csv", "feed")
    for line in range(2000):
        report.change("HTML removed", f"feed.csv:{line}", f"<b>{line}</b>", line)
        report.refuse("no title", "feed.csv", line, "it has no text")
    assert report.changes["HTML removed"].count == report.refused["no title"] == 2000
    assert [str(one) for one in report.changes["HTML removed"].examples] == [
        "feed.csv:0: <b>0</b> → 0",
        "feed.csv:1: <b>1</b> → 1",
        "feed.csv:2: <b>2</b> → 2",
    ]
    assert len(report.first_refused) == 1000
    assert str(report.first_refused[999]) == "feed.csv:999: it has no text"


def test_what_was_left_out_is_seen_to_be_nothing() -> None:
    report = ImportReport("feed.csv", "feed")
    report.change("price left out: negative", "feed.csv:7 price", "-5", "")
    report.compare("added", "5", "", "Sofa")
    report.compare("gone", "3", "Desk")
    report.change("cells missing", "feed.csv:9", "", "")
    shown_examples = [str(each.examples[0]) for each in (*report.changes.values(), *report.compared.values())]
    assert shown_examples == ["feed.csv:7 price: -5 → (nothing)", "feed.csv:9", "5: Sofa", "3: Desk → (nothing)"]


def test_brackets_in_values_are_no_markup() -> None:
    report = ImportReport("[bold]feed[/bold].csv", "feed", found={"columns": "title ← [red]"})
    report.change("[b]kind[/b]", "feed.csv:1 [i]", "[/]", "[link=x]y")
    report.compare("added", "[p1]", "", "[/desk]")
    report.refuse("no [title]", "[f].csv", 3, "column '[/title]' has no text")
    report.count("[rows]")
    written = shown(report)
    for text in ("[bold]feed[/bold].csv", "title ← [red]", "[b]kind[/b]", "feed.csv:1 [i]: [/] → [link=x]y", "[p1]",
                 "refused: no [title]", "[f].csv:3: column '[/title]' has no text", "[rows] read"):  # fmt: skip
        assert text in written


def test_what_cannot_be_seen_is_shown_by_its_code() -> None:
    assert shortened("Lap\u00adtop\n sleeve") == "Lap\\xadtop sleeve"
    assert shortened("\x1b[31mred") == "\\x1b[31mred"
    assert shortened("Caf\udce9") == "Caf\\udce9"
    assert shortened("a" * 500) == "a" * 79 + "…"
    report = ImportReport("feed.csv", "feed", found={"sheet": "\x1b]0;title\x07"})
    report.refuse("no title", "feed.csv", 2, "\x1b[2J")
    assert "\x1b" not in shown(report)


def test_names_are_short_and_the_rest_is_counted() -> None:
    names = ["", "a\n\x07", "b" * 500, *(f"c{i}" for i in range(30))]
    assert names_listed(names).startswith(f"(without a name), a \\x07, {'b' * 39}…, c0, c1")
    assert names_listed(names).endswith(", c16 and 13 more")
    assert columns_said({"title": "x" * 50}) == f"title ← {'x' * 39}…"
    assert times_listed(Counter({"y" * 50: 2})) == f"{'y' * 39}… (in 2 rows)"


def test_what_is_left_open_is_said_as_it_is() -> None:
    report = ImportReport("votes.csv", "judgments")
    report.leave_open("blank grades: no vote is made of them", 3)
    written = shown(report)
    assert "blank grades: no vote is made of them" in written
    assert "them read" not in written


def test_all_of_it_is_in_the_json(tmp_path: Path) -> None:
    report = ImportReport("Caf\udce9.csv", "feed", found={"form": "table"})
    report.count("rows", 3)
    report.keep("products", 2)
    report.change("HTML removed", "feed.csv:2", "<b>a</b>", "a")
    report.compare("gone", "p7", "Desk")
    report.refuse("no title", "feed.csv", 4, "it has no text")
    report.save(tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8")) == {
        "source": "Caf?.csv",
        "format": "feed",
        "found": {"form": "table"},
        "read": {"rows": 3},
        "left_open": {},
        "kept": {"products": 2},
        "changes": {
            "HTML removed": {"count": 1, "examples": [{"place": "feed.csv:2", "before": "<b>a</b>", "after": "a"}]}
        },
        "compared": {"gone": {"count": 1, "examples": [{"place": "p7", "before": "Desk", "after": ""}]}},
        "refused": {"no title": 1},
        "first_refused": [{"file": "feed.csv", "line": 4, "reason": "it has no text", "kind": "no title"}],
    }
