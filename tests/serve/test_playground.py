"""The playground in a real browser against the real server: what a person types is what the API answers."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from playwright.sync_api import Browser, Page, expect

from gen_rerank.reranker import as_product
from serve.playground import router

pytest.importorskip("vllm")

HOSTILE = "desk <img src=x onerror=\"document.title='hacked'\">"


@pytest.fixture(scope="module")
def files() -> TestClient:
    app = FastAPI()
    app.include_router(router)
    return TestClient(app)


@pytest.fixture(scope="module")
def samples(files: TestClient) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = files.get("/playground/samples.json").json()
    return listed


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/playground", "text/html; charset=utf-8"),
        ("/playground/playground.js", "text/javascript; charset=utf-8"),
        ("/playground/playground.css", "text/css; charset=utf-8"),
        ("/playground/samples.json", "application/json"),
        ("/playground/icon.svg", "image/svg+xml"),
    ],
)
def test_files_are_sent_with_their_type_and_a_policy(files: TestClient, path: str, media_type: str) -> None:
    answer = files.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == media_type
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert set(re.findall(r"'[a-z]+'", policy)) == {"'self'", "'none'"}
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_known_file_is_not_sent_again(files: TestClient) -> None:
    first = files.get("/playground")
    again = files.get("/playground", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert files.get("/playground", headers={"If-None-Match": '"other"'}).content == first.content


@pytest.mark.parametrize("name", ["__init__.py", "none.js", "..%2f__init__.py", "%2e%2e/launch.py"])
def test_nothing_else_is_sent(files: TestClient, name: str) -> None:
    assert files.get(f"/playground/{name}").status_code == 404


def test_the_page_asks_no_other_host(files: TestClient) -> None:
    page = files.get("/playground").text
    parts = [page, *(files.get(f"/{path}").text for path in re.findall(r'(?:href|src)="(playground/[^"]+)"', page))]
    parts += [
        files.get(f"/playground/{name}").text for name in ("copies.js", "products.js", "ranking.js", "samples.json")
    ]
    assert len(parts) == 8
    hosts = set(re.findall(r"https?://([^/\"]+)", "".join(parts)))
    assert hosts == {"www.w3.org"}  # the name of SVG's namespace, which nobody fetches
    assert "innerHTML" not in "".join(parts)


def test_samples_are_products(samples: list[dict[str, Any]]) -> None:
    assert len(samples) >= 3
    for sample in samples:
        assert sample["query"].strip()
        titles = [as_product(product).title for product in sample["products"]]
        assert len(titles) == len(set(titles)) == 8


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1100, "height": 900})
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(f"{url}/playground")
    page.wait_for_selector("#samples button")
    page.wait_for_selector("#model option", state="attached")
    yield page
    page.close()
    # What the server refuses the browser reports too; nothing else may be wrong, a breach of the policy least of all.
    assert [line for line in said if "the server responded with a status of" not in line] == []


def ranked(page: Page) -> None:
    """Press Enter in the query, and wait for the answer."""
    page.press("#query", "Enter")
    page.wait_for_selector(".ranking, #trouble:not([hidden])")


def rows(page: Page, column: int = 0) -> list[dict[str, Any]]:
    """Return what a person sees of a ranking."""
    read = """list => Array.from(list.children, row => ({
        index: Number(row.dataset.index), position: row.querySelector(".position").textContent,
        title: row.querySelector("h3").textContent, facts: row.querySelector(".facts").textContent,
        score: row.querySelector(".score").textContent, tier: row.querySelector(".tier")?.textContent ?? null,
        move: row.querySelector(".move")?.textContent ?? null,
        bars: Array.from(row.querySelectorAll("rect"), bar => Number(bar.getAttribute("height")))
    }))"""
    shown: list[dict[str, Any]] = page.locator(".results").nth(column).evaluate(read)
    return shown


def test_what_is_shown_is_what_the_api_answers(page: Page, url: str, samples: list[dict[str, Any]]) -> None:
    page.click(f"#samples button:has-text('{samples[1]['name']}')")
    assert page.input_value("#query") == samples[1]["query"]
    assert page.text_content("#count") == "8 products, read as JSON Lines"
    page.fill("#query", "oak desk please")
    page.fill("#top", "5")
    page.fill("#instruction", "Rate the desks.")
    ranked(page)
    body = {"model": "tiny", "query": "oak desk please", "documents": samples[1]["products"], "top_n": 5}
    body |= {"instruction": "Rate the desks.", "return_distribution": True, "return_rank_confidence": True}
    answer = httpx.post(f"{url}/v1/rerank", json=body, timeout=60).json()
    shown = rows(page)
    assert [row["index"] for row in shown] == [result["index"] for result in answer["results"]]
    highest = max(max(result["distribution"]) for result in answer["results"])
    for place, (row, result) in enumerate(zip(shown, answer["results"], strict=True), start=1):
        product = samples[1]["products"][result["index"]]
        assert (row["position"], row["title"], row["move"]) == (str(place), product["title"], None)
        assert row["facts"].startswith(f"{product['brand']} · {product['price']:.2f}"[: len(row["facts"])])
        score, std = map(float, row["score"].split(" ± "))
        assert score == pytest.approx(result["relevance_score"], abs=6e-4)
        assert std == pytest.approx(result["std"], abs=6e-4)
        assert row["tier"] == result.get("tier")
        assert row["bars"] == pytest.approx([max(1.0, 34 * p / highest) for p in result["distribution"]], abs=0.01)
    sure, near = answer["rank_confidence"], " · near tie" if answer["near_tie"] else ""
    assert page.locator(".whole").all_text_contents() == [f"First is best: {100 * sure:.1f}%{near}"]
    assert re.fullmatch(rf"\d+ ms · {answer['usage']['total_tokens']:,} tokens", page.text_content(".head .note"))


def test_two_models_stand_side_by_side(page: Page, url: str) -> None:
    names = [model["id"] for model in httpx.get(f"{url}/v1/models").json()["data"]]
    page.select_option("#other", names[-1])
    ranked(page)
    assert page.locator(".head h2").all_text_contents() == [names[0], names[-1]]
    left, right = rows(page, 0), rows(page, 1)
    assert all(row["move"] is None for row in left)
    before = [row["index"] for row in left]
    for place, row in enumerate(right):
        up = before.index(row["index"]) - place
        assert row["move"] == ("=" if up == 0 else f"{'▲' if up > 0 else '▼'}{abs(up)}")
    boxes = [page.locator(".ranking").nth(column).bounding_box() for column in (0, 1)]
    assert boxes[0]["y"] == boxes[1]["y"]
    assert boxes[0]["x"] + boxes[0]["width"] < boxes[1]["x"]


def test_a_move_is_counted_from_the_other_ranking(page: Page) -> None:
    """The real drawing on an answer made by hand: 0 and 1 change places, 2 was not in the other's top."""
    moves = page.evaluate(
        """async () => {
        const { drawRanking } = await import("/playground/ranking.js");
        const result = index => ({ index, relevance_score: 0.5, std: 0.1, tier: "close", distribution: [0.5, 0.5] });
        const given = order => ({ model: "m", tokens: 1, milliseconds: 1, results: order.map(result) });
        const [, list] = drawRanking({ documents: ["a", "b", "c"] }, given([1, 0, 2]), given([0, 1]), 1);
        return Array.from(list.querySelectorAll(".move"), mark => [mark.textContent, mark.getAttribute("aria-label")])
          .concat([[list.querySelector(".tier").className, list.querySelector("rect title").textContent]]);
    }"""
    )
    assert moves == [
        ["▲1", "1 higher than by m"],
        ["▼1", "1 lower than by m"],
        ["new", "not in the ranking of m"],
        ["tier close", "0.0: 50.0%"],
    ]


def test_what_is_said_of_a_ranking_as_a_whole(page: Page) -> None:
    """The real drawing on answers made by hand."""
    said = page.evaluate(
        """async () => {
        const { drawRanking } = await import("/playground/ranking.js");
        const result = index => ({ index, relevance_score: 0.2, std: 0.1, tier: "irrelevant", distribution: [1] });
        const given = { model: "m", tokens: 1, milliseconds: 1, results: [0, 1].map(result) };
        const drawn = more => drawRanking({ documents: ["a", "b"] }, { ...given, ...more }, null, 1);
        const lines = more => drawn(more).filter(part => part.className === "whole").map(line => line.textContent);
        return [lines({}), lines({ no_good_match: true, rank_confidence: 0.5, near_tie: true }),
                lines({ no_good_match: false, rank_confidence: 0.875, near_tie: false })];
    }"""
    )
    nothing = "No good match: no product reaches close."
    assert said == [[], [nothing, "First is best: 50.0% · near tie"], ["First is best: 87.5%"]]


def test_a_hostile_title_is_text(page: Page) -> None:
    product = {"title": HOSTILE, "brand": HOSTILE, "attributes": {HOSTILE: HOSTILE}}
    page.fill("#products", json.dumps(product))
    page.fill("#query", HOSTILE)
    ranked(page)
    assert [row["title"] for row in rows(page)] == [HOSTILE]
    assert HOSTILE in page.text_content("#status")
    assert page.locator("img").count() == 0
    assert page.title() == "gen_rerank playground"


PASTED = [
    ("red desk\n\n  oak lamp \n[New] sofa", "3 products, read as titles"),
    ("[New] sofa\nred desk", "2 products, read as titles"),
    ('{"title": "a"}\n\n{"title": "b"}\n', "2 products, read as JSON Lines"),
    ('["a",\n {"title": "b"}]', "2 products, read as JSON array"),
    ("lamp", "1 product, read as titles"),
    ('{"title": "a"}\n\n{"title": }', "Line 3 is not valid JSON; each line holds one whole product."),
    ('[\n{"title": "a"},\n{"title" "b"}\n]', "Line 3: the array is not valid JSON from here on."),
    ('[\n{"title": "a"},\n]', "Line 3: the array is not valid JSON from here on."),
    ('[\n"a",\n"b"', "Line 3: the array is not valid JSON from here on."),
    ('["a"]\n["b"]', "Line 2: the array is not valid JSON from here on."),
    ('["a",\n01]', "Line 2: the array is not valid JSON from here on."),
    (
        '[{"a": [1.5e3, true, null, {}, []],\n"b": "\\u00e9\\x"}]',
        "Line 2: the array is not valid JSON from here on.",
    ),
]


def test_what_is_pasted_is_read_or_refused_with_its_line(page: Page) -> None:
    for products, note in PASTED:
        page.fill("#products", products)
        assert page.text_content("#count") == note
    ranked(page)  # the last one cannot be read
    assert page.text_content("#trouble") == PASTED[-1][1]
    assert page.locator(".ranking").count() == 0


def test_the_servers_sentence_is_shown(page: Page, url: str) -> None:
    for query, documents in (("   ", ["desk"]), ("desk", [{"brand": "B"}]), ("desk", [])):
        page.fill("#query", query)
        page.fill("#products", json.dumps(documents))
        with page.expect_response("**/v1/rerank"):
            page.press("#query", "Enter")
        refused = httpx.post(f"{url}/v1/rerank", json={"query": query, "documents": documents})
        assert refused.is_client_error
        expect(page.locator(".ranking .trouble")).to_have_text(refused.json()["detail"])


def test_the_key_is_sent_and_kept_in_the_tab_only(page: Page, browser: Browser, url: str) -> None:
    sent = []
    page.on("request", lambda request: sent.append(request.headers.get("authorization")))
    page.fill("#key", "secret")
    page.press("#key", "Tab")
    assert page.evaluate("sessionStorage.getItem('gen_rerank.key')") == "secret"
    ranked(page)
    assert "Bearer secret" in sent
    assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
    page.reload()
    assert page.input_value("#key") == "secret"
    other = browser.new_page()
    other.goto(f"{url}/playground")
    assert other.input_value("#key") == ""
    other.close()


def test_the_curl_command_is_the_request(page: Page, url: str) -> None:
    page.fill("#query", "dad's desk")
    page.fill("#products", "oak desk\nsteel 'lamp'")
    page.fill("#key", "secret")
    page.click("#curl")
    command = shlex.split(page.input_value("#shell"))
    assert command[:3] == ["curl", "-s", f"{url}/v1/rerank"]
    assert "Authorization: Bearer $API_KEY" in command
    assert "secret" not in page.input_value("#shell")
    body = json.loads(command[-1])
    assert (body["query"], body["documents"]) == ("dad's desk", ["oak desk", "steel 'lamp'"])
    assert httpx.post(command[2], json=body, timeout=60).is_success


@pytest.mark.parametrize("client", ["openai", "cohere"])
def test_a_script_is_the_request(client: str, page: Page, url: str) -> None:
    pytest.importorskip(client)
    products = [
        '{"title": "steel \'lamp\' \\"é\\"", "available": true, "brand": null}',
        '{"title": "oak desk"}',
        '{"title": "sofa"}',
    ]
    page.fill("#query", "dad's desk")
    page.fill("#products", "\n".join(products))
    page.fill("#instruction", "Rate desks.")
    page.fill("#top", "2")
    page.fill("#key", "secret")
    page.click(f"#{client}")
    script = page.input_value("#shell")
    assert "secret" not in script
    asked = {"query": "dad's desk", "documents": list(map(json.loads, products)), "instruction": "Rate desks."}
    best = httpx.post(f"{url}/v1/rerank", json=asked | {"top_n": 2}, timeout=60).json()["results"]
    done = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | {"API_KEY": "any"}, capture_output=True, text=True, check=True
    )
    said = [line.split(" ", 1) for line in done.stdout.splitlines()]
    assert [product for _, product in said] == [str(json.loads(products[row["index"]])) for row in best]
    assert [float(score) for score, _ in said] == pytest.approx([row["mean"] for row in best], abs=2e-3)


def test_it_fits_the_screen(page: Page, tmp_path: Path) -> None:
    page.select_option("#other", index=1)
    ranked(page)
    for width, scheme in ((1100, "light"), (1100, "dark"), (400, "dark"), (400, "light")):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.screenshot(path=tmp_path / f"{width}-{scheme}.png").startswith(b"\x89PNG")
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", colour))) > 600) == (scheme == "light")


def test_every_control_has_a_name(page: Page) -> None:
    unnamed = """() => Array.from(document.querySelectorAll("input, select, textarea, button"))
        .filter(control => !(control.labels?.length || control.textContent.trim() || control.ariaLabel)).length"""
    assert page.evaluate(unnamed) == 0


def test_pip_installs_every_file_of_the_page() -> None:
    """An installed package has only the files that pyproject.toml names."""
    root = Path(__file__).parents[2]
    patterns = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"][
        "package-data"
    ]
    kept = patterns["*"] + patterns.get("serve.playground", [])
    names = [path.name for path in (root / "serve" / "playground").iterdir() if path.is_file() and path.suffix != ".py"]
    assert [name for name in names if not any(fnmatch(name, pattern) for pattern in kept)] == []
