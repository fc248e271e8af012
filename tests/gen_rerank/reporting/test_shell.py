"""What commands print: lines as they are, and JSON that every console has."""

from __future__ import annotations

import json

import pytest

from gen_rerank.reporting.shell import console, error_console, list_left_out, say, say_json, stop


def test_a_line_is_printed_as_it_is(capsys) -> None:
    console.cache_clear()
    line = "[red]a desk[/red] :smile: " + "x" * 200
    say(line)
    list_left_out(console(), [":car:"])
    assert capsys.readouterr().out == f"{line}\nleft out :car:\n1 bad row left out\n"


@pytest.mark.parametrize(
    ("columns", "width"), [("80", 80), ("", 130), ("0", 130), ("wide", 130), ("²", 130), ("00", 130)]
)
def test_the_width_of_piped_output(capsys, monkeypatch, columns: str, width: int) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    console.cache_clear()
    assert console().width == width


@pytest.mark.parametrize("columns", ["0", "1", "7", "²", "-3"])
def test_an_error_does_not_depend_on_the_width(capsys, monkeypatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    with pytest.raises(SystemExit):
        stop("a sentence of several words: " + "x" * 200, 2)
    assert capsys.readouterr().err == "error: a sentence of several words: " + "x" * 200 + "\n"


def test_no_console_reads_markup_or_pictures(capsys) -> None:
    console.cache_clear()
    console().print("[bold]x :tv:")
    error_console().print("[/x] :tv:")
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("[bold]x :tv:\n", "[/x] :tv:\n")


def test_json_is_ascii(capsys) -> None:
    say_json({"title": "Schöner Tisch 😀", "score": 0.5})
    out = capsys.readouterr().out
    assert out.isascii()
    assert json.loads(out) == {"title": "Schöner Tisch 😀", "score": 0.5}
