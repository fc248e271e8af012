"""The key file: what is written can be read, and what is malformed is named."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen_rerank.errors import BadInput
from serve.access import Key, Keys, add_key

HASH = hashlib.sha256(b"secret").hexdigest()


def test_keys_that_were_added_are_recognised(tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    shop = add_key(file, "shop-1")
    admin = add_key(file, "ops", admin=True)
    assert len(shop) >= 43  # 256 bits
    assert shop != admin
    keys = Keys.read(file)
    assert keys.label_of(shop) == Key("shop-1")
    assert keys.label_of(admin) == Key("ops", admin=True)
    assert keys.label_of(shop + "x") is None
    assert keys.label_of("") is None
    assert keys.label_of(hashlib.sha256(shop.encode()).hexdigest()) is None


def test_the_file_holds_hashes_and_is_its_owners(tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    secret = add_key(file, "shop", admin=True)
    assert file.read_text() == f"shop {hashlib.sha256(secret.encode()).hexdigest()} admin\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_comments_and_a_line_without_end_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    file.write_text(f"# our shops\n\nold {HASH} # since May")
    secret = add_key(file, "new")
    assert file.read_text().startswith(f"# our shops\n\nold {HASH} # since May\nnew ")
    keys = Keys.read(file)
    assert keys.label_of("secret") == Key("old")
    assert keys.label_of(secret) == Key("new")


@given(st.text(max_size=200))
def test_no_token_is_an_error(token: str) -> None:
    assert Keys(((HASH, Key("a")),)).label_of(token) == (Key("a") if token == "secret" else None)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("a", r"keys\.txt:1: a line is `label sha256hex \[admin\]`, but this one has 1 words"),
        (f"a {HASH}\nb {HASH[1:]}", r"keys\.txt:2: the second word is not a SHA-256"),
        (f"a {HASH.upper()}", r":1: the second word is not a SHA-256"),
        (f"a {HASH} root", r":1: the third word can only be 'admin'"),
        (f"a {HASH} admin x", r":1: .* has 4 words"),
        (f"ä {HASH}", r":1: a label is 1 to 64 letters"),
        (f"a {HASH}\n\na {'0' * 64}", r":3: the label 'a' stands in line 1 too"),
        (f"a {HASH}\nb {HASH}", r":2: the same key stands in line 1 too"),
        ("# nobody yet\n", r"keys\.txt: it has no key"),
    ],
)
def test_a_malformed_file_is_one_sentence(tmp_path: Path, lines: str, words: str) -> None:
    file = tmp_path / "keys.txt"
    file.write_text(lines)
    with pytest.raises(BadInput, match=words) as refused:
        Keys.read(file)
    assert "\n" not in str(refused.value)
    assert HASH not in str(refused.value)


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"cannot be read \(No such file"):
        Keys.read(tmp_path / "missing.txt")
    with pytest.raises(BadInput, match=r"cannot be read \(Is a directory"):
        Keys.read(tmp_path)
    (tmp_path / "keys.bin").write_bytes(b"\xff\xfe")
    with pytest.raises(BadInput, match="not UTF-8"):
        Keys.read(tmp_path / "keys.bin")


def test_a_key_that_cannot_be_added_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    add_key(file, "shop")
    before = file.read_text()
    with pytest.raises(BadInput, match="there is a key 'shop' already"):
        add_key(file, "shop")
    with pytest.raises(BadInput, match="a label is 1 to 64 letters"):
        add_key(file, "two words")
    assert file.read_text() == before
    with pytest.raises(BadInput, match=r"cannot add a key \(No such file"):
        add_key(tmp_path / "no" / "keys.txt", "shop")
    file.write_text("nonsense")
    with pytest.raises(BadInput, match=r":1: a line is"):
        add_key(file, "other")
