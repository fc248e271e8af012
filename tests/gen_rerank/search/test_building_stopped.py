"""Real runs that are stopped while they write: Ctrl-C, kill -9, a full disk. What was committed stands."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gen_rerank.search.building import build_index, change_index
from gen_rerank.search.index import ProductIndex
from gen_rerank.search.settings import IndexSettings

from .conftest import products, write_shop

ROOT = Path(__file__).parents[3]
PRODUCTS = 200
_LOOP = """
import sys
from pathlib import Path
from gen_rerank.search.building import change_index
index, *files = map(Path, sys.argv[1:])
print("ready", flush=True)
while True:
    for file in files:
        change_index(index, add=file)
"""


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Products whose indexing takes a second or more, each with words of its own."""
    file = tmp_path_factory.mktemp("big") / "big.jsonl"
    with file.open("w") as rows:
        rows.writelines(
            f'{{"product_id": "p{i}", "title": "blue desk {i}", "description": "n{i * 7919} m{i * 104729}"}}\n'
            for i in range(15_000)
        )
    return file


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """An index of red desks."""
    shop = write_shop(tmp_path / "red.jsonl", products(**{f"p{i}": "red desk" for i in range(PRODUCTS)}))
    build_index(shop, tmp_path / "index", IndexSettings())
    return tmp_path / "index"


def titles(index: Path) -> list[str]:
    found = ProductIndex.open(index).candidates("red blue desk", 10_000)
    return sorted({" ".join(one.product.title.split()[:2]) for one in found})


def command(index: Path, *words: object) -> list[str]:
    return [sys.executable, "-W", "ignore", "-m", "gen_rerank", "index", "--out", str(index), *map(str, words)]


def started(index: Path, *words: object) -> subprocess.Popen[str]:
    """Start a run that writes, and return when it does."""
    process = subprocess.Popen(command(index, *words), stderr=subprocess.PIPE, text=True, cwd=ROOT)
    deadline = time.monotonic() + 120
    while not (index.parent / f".{index.name}.partial" / "lock").exists():
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    time.sleep(0.1)
    return process


WAYS = pytest.mark.parametrize("way", [(), ("--add",)], ids=["a new index", "a change"])


@WAYS
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_a_run_that_is_stopped_leaves_the_last_commit(
    index: Path, big: Path, way: tuple[str, ...], stop: signal.Signals
) -> None:
    process = started(index, *way, big)
    process.send_signal(stop)
    _, err = process.communicate(timeout=60)
    if stop is signal.SIGINT:
        assert process.returncode == 130
        assert "Traceback" not in err
        assert not list(index.parent.glob(".index*"))
    else:
        assert process.returncode == -signal.SIGKILL
    assert titles(index) == ["red desk"]
    assert len(ProductIndex.open(index)) == PRODUCTS
    assert change_index(index, delete=["p1"]).products == PRODUCTS - 1  # no lock stays, and what was left goes
    assert not list(index.parent.glob(".index*"))
    assert len({file.stem for file in (index / "words").glob("*.store")}) <= 2


@WAYS
@pytest.mark.parametrize("room", [2_000, 200_000], ids=["none", "too little"])
def test_a_full_disk_is_one_sentence_and_the_last_commit_stands(
    index: Path, big: Path, way: tuple[str, ...], room: int
) -> None:
    """The disk is "full" for files above a limit."""

    def small_files_only() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    before = sorted(file.name for file in index.rglob("*"))
    failed = subprocess.run(
        command(index, *way, big), capture_output=True, text=True, check=False, cwd=ROOT, preexec_fn=small_files_only
    )
    assert failed.returncode == 2, failed.stderr
    said = failed.stderr.strip().splitlines()[-1]
    assert said.startswith(f"error: {index}: cannot be written (")
    assert "the disk is full); nothing was changed" in said
    assert "Traceback" not in failed.stderr
    assert titles(index) == ["red desk"]
    assert sorted(file.name for file in index.rglob("*")) == before
    assert not list(index.parent.glob(".index*"))


def test_whenever_a_writer_is_killed_all_of_a_commit_is_there_or_nothing(index: Path, tmp_path: Path) -> None:
    rows = {
        colour: write_shop(
            tmp_path / f"{colour}.jsonl", products(**{f"p{i}": f"{colour} desk" for i in range(PRODUCTS)})
        )
        for colour in ("blue", "red")
    }
    reader = ProductIndex.open(index)
    for delay in (0.0, 0.029, 0.071):
        process = subprocess.Popen(
            [sys.executable, "-c", _LOOP, str(index), *map(str, rows.values())], stdout=subprocess.PIPE, cwd=ROOT
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(delay)
        process.kill()
        process.communicate()
        found = [one.product.title for one in reader.candidates("desk", 10_000)]
        assert len(found) == PRODUCTS
        assert len(set(found)) == 1
        assert titles(index) == [found[0]]
    assert change_index(index, add=rows["blue"]).replaced == PRODUCTS


def test_what_a_killed_run_left_of_a_change_does_not_stop_the_next_one(index: Path) -> None:
    """It has marked products as deleted, in a file by the number of the commit, which never came."""
    words = index / "words"
    meta = json.loads((words / "meta.json").read_text())
    segment = meta["segments"][0]["segment_id"].replace("-", "")
    left = [f"{segment}.{meta['opstamp'] + more}.del" for more in range(20)]
    for name in left:
        (words / name).touch()
    known = json.loads((words / ".managed.json").read_text())
    (words / ".managed.json").write_text(json.dumps([*known, *left]))
    assert change_index(index, delete=["p1"]).products == PRODUCTS - 1
    assert len(list(words.glob("*.del"))) == 1


def test_a_reader_in_another_process_sees_every_commit(index: Path, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom gen_rerank import Search\nsearch = Search.open(sys.argv[1])\n"
        "for line in sys.stdin:\n    print(len(search.find(line, k=10_000).results), flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(index)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def asked(query: str) -> int:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{query}\n")
            process.stdin.flush()
            return int(process.stdout.readline())

        assert asked("desk") == PRODUCTS
        change_index(index, delete=["p1", "p2"])
        assert asked("desk") == PRODUCTS - 2
        build_index(write_shop(tmp_path / "new.jsonl", products(z="Desk")), index, IndexSettings())
        assert asked("desk") == 1
        process.stdin.close()
