"""Takes docs/playground.png: a sample ranked by a running server's first and last model, in headless Chromium.

    gen-rerank serve runs/demo/model --name sample-shop --adapter strict-shop=runs/results/strict/adapter
    python benchmarks/playground_screenshot.py http://127.0.0.1:8000 --out docs/playground.png

Colours are reduced to 128, which nobody sees and which makes the file a third as large.
"""

from __future__ import annotations

import argparse
import io
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
_FLAGS += ["--disable-background-networking", "--disable-component-update"]
_WIDTH, _HEIGHT, _COLOURS = 1100, 900, 128


def take(url: str, sample: str, scheme: str) -> bytes:
    """Return a screenshot as PNG bytes: `sample` ranked by the first and the last model that the server lists."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=_FLAGS)
        page = browser.new_page(viewport={"width": _WIDTH, "height": _HEIGHT}, color_scheme=scheme)
        page.goto(f"{url}/playground")
        page.wait_for_selector("#model option", state="attached")
        models = page.locator("#other option").evaluate_all("options => options.map(option => option.value)")
        page.select_option("#other", models[-1])
        chips = page.locator("#samples button")
        # Another sample first, so that the times shown are not those of a server's first requests.
        for chip in (chips.filter(has_not_text=sample).first, chips.filter(has_text=sample)):
            chip.click()
            page.press("#query", "Enter")
            page.wait_for_selector("#rank[disabled]", state="detached")
            page.wait_for_selector(f'#status:has-text("{page.input_value("#query")}")')
        page.mouse.move(0, 0)
        picture = page.screenshot()
        browser.close()
    return picture


def main() -> None:
    """Take the picture, reduce it, write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="of a running server")
    parser.add_argument("--out", type=Path, default=Path("docs/playground.png"))
    parser.add_argument("--sample", default="Fits my laptop", help="the name on one of the page's sample buttons")
    parser.add_argument("--scheme", choices=["light", "dark"], default="light")
    given = parser.parse_args()
    image = Image.open(io.BytesIO(take(given.url, given.sample, given.scheme))).convert("RGB")
    image.quantize(_COLOURS, dither=Image.Dither.NONE).save(given.out, optimize=True)
    print(f"{given.out}: {image.width} × {image.height}, {given.out.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
