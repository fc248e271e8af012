"""What commands print: lines as they are, and JSON that every console has."""

from __future__ import annotations

import json

from gen_rerank.reporting.shell import console, list_left_out, say, say_json


def test_a_line_is_printed_as_it_is(capsys) -> None:
    console.cache_clear()
    line = "[red]a desk[/red] :smile: " + "x" * 200
    say(line)
    list_left_out(console(), [":car:"])
    assert capsys.readouterr().out == f"{line}\nleft out :car:\n1 bad row left out\n"


def test_piped_output_is_as_wide_as_columns_says(capsys, monkeypatch) -> None:
    found = []
    for columns in (None, "100"):
        monkeypatch.delenv("COLUMNS", raising=False) if columns is None else monkeypatch.setenv("COLUMNS", columns)
        console.cache_clear()
        found.append(console().width)
    console.cache_clear()
    assert found == [130, 100]


def test_json_is_ascii(capsys) -> None:
    say_json({"title": "Schöner Tisch 😀", "score": 0.5})
    out = capsys.readouterr().out
    assert out.isascii()
    assert json.loads(out) == {"title": "Schöner Tisch 😀", "score": 0.5}
