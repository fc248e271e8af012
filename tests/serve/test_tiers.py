"""Tiers over HTTP, with the real server: a query without a good product is told so in every rerank shape."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

pytest.importorskip("vllm")


@pytest.fixture
def good(tiered: Any) -> dict[str, Any]:
    """A query with one good product."""
    return {"model": "shop", "query": tiered.query, "documents": tiered.titles}


@pytest.fixture
def poor(tiered: Any, good: dict[str, Any]) -> dict[str, Any]:
    """The same query without it."""
    return good | {"documents": [title for i, title in enumerate(tiered.titles) if i != tiered.best]}


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/rerank"])
def test_a_query_without_a_good_product_is_told_so(
    url: str, tiered: Any, good: dict[str, Any], poor: dict[str, Any], path: str
) -> None:
    def ask(body: dict[str, Any]) -> httpx.Response:
        return httpx.post(url + path, json=body, timeout=60)

    found = ask(good | {"min_tier": "close", "return_rank_confidence": True}).json()
    assert [(row["index"], row["tier"]) for row in found["results"]] == [(tiered.best, "close")]
    assert (found["no_good_match"], found["rank_confidence"], found["near_tie"]) == (False, 1.0, False)
    nothing = ask(poor).json()
    assert nothing["no_good_match"] is True
    assert {row["tier"] for row in nothing["results"]} == {"irrelevant"}
    assert ask(poor | {"min_tier": "close"}).json()["results"] == []
    refused = ask(good | {"model": "tiny", "min_tier": "close"})
    assert refused.status_code == (400 if path == "/rerank" else 422)
    assert "'tiny' has no tiers" in refused.text


def test_a_batch_says_it_of_each_query(url: str, good: dict[str, Any], poor: dict[str, Any]) -> None:
    answer = httpx.post(f"{url}/v1/rerank/batch", json={"model": "shop", "requests": [good, poor]}, timeout=60).json()
    assert [one["no_good_match"] for one in answer["verdicts"]] == [False, True]


def test_teis_bare_array_says_it_in_a_header(url: str, good: dict[str, Any], poor: dict[str, Any]) -> None:
    def said(asked: dict[str, Any], model: str) -> str | None:
        body = {"model": model, "query": asked["query"], "texts": asked["documents"]}
        return httpx.post(f"{url}/rerank", json=body, timeout=60).headers.get("x-no-good-match")

    assert (said(good, "shop"), said(poor, "shop"), said(good, "tiny")) == ("false", "true", None)
