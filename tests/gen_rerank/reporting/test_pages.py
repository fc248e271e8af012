"""Pages: what is shown is text, gaps are errors, and all share one skeleton."""

from __future__ import annotations

import re
from pathlib import Path

import jinja2
import pytest

from gen_rerank.reporting.pages import render

PAGE = """{% extends "reporting/page.html" %}
{% block title %}{{ name }}{% endblock %}
{% block content %}<h1>{{ name | loud }}</h1>{% endblock %}
"""


def loud(text: str) -> str:
    return text.upper()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    folder = tmp_path / "made_for_a_test" / "templates"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    (folder / "page.html").write_text(PAGE)
    (folder / "plain.md").write_text("# {{ name }}")
    monkeypatch.syspath_prepend(str(tmp_path))
    return "made_for_a_test"


def test_a_page_has_the_shared_skeleton_and_escapes_what_it_shows(package: str) -> None:
    page = render(package, "page.html", {"name": "a <b>"}, loud)
    assert page.startswith("<!doctype html>")
    assert "<title>a &lt;b&gt;</title>" in page
    assert "<h1>A &lt;B&gt;</h1>" in page
    assert "prefers-color-scheme: dark" in page
    assert not re.search(r"url\(|@import|http|src=|href=", page), "it loads nothing"


def test_markdown_escapes_itself(package: str) -> None:
    assert render(package, "plain.md", {"name": "a <b>"}) == "# a <b>"


def test_a_name_that_nobody_gave_is_an_error(package: str) -> None:
    with pytest.raises(jinja2.UndefinedError, match="name"):
        render(package, "plain.md", {})
