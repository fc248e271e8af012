"""Takes the documents' pictures in headless Chromium: the playground of a running server, and the top of a report.

    gen-rerank serve runs/demo/model --name sample-shop --adapter strict-shop=runs/results/strict/adapter
    python benchmarks/screenshot.py playground http://127.0.0.1:8000
    python benchmarks/screenshot.py report runs/compare/report.html --out docs/quantization.png

Colours are reduced to 128, which nobody sees and which makes the files a third as large.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from harness.command import new_app, run_app

_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
_FLAGS += ["--disable-background-networking", "--disable-component-update"]
_COLOURS = 128

app = new_app()
Scheme = Annotated[str, typer.Option(help="light or dark")]


@app.command()
def playground(
    url: Annotated[str, typer.Argument(help="of a running server")],
    out: Path = Path("docs/playground.png"),
    sample: Annotated[str, typer.Option(help="the name on one of the page's sample buttons")] = "Fits my laptop",
    scheme: Scheme = "light",
) -> None:
    """Take a sample ranked by the first and the last model that the server lists."""
    with chromium_page(1100, 900, scheme) as page:
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
        write(page.screenshot(), out)


@app.command()
def report(
    file: Annotated[Path, typer.Argument(help="an HTML file")],
    out: Path = Path("docs/quantization.png"),
    width: int = 1280,
    height: int = 1400,
    scheme: Scheme = "light",
) -> None:
    """Take the top of a page."""
    with chromium_page(width, height, scheme) as page:
        page.goto(file.resolve().as_uri())
        write(page.screenshot(), out)


@contextmanager
def chromium_page(width: int, height: int, scheme: str) -> Iterator[Page]:
    """Open an empty page of a size in pixels."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=_FLAGS)
        yield browser.new_page(
            viewport={"width": width, "height": height}, color_scheme="dark" if scheme == "dark" else "light"
        )
        browser.close()


def write(picture: bytes, out: Path) -> None:
    """Reduce a picture's colours and write it."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image.quantize(_COLOURS, dither=Image.Dither.NONE).save(out, optimize=True)
    typer.echo(f"{out}: {image.width} × {image.height}, {out.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    run_app(app)
