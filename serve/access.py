"""API keys: a file of hashes, read once at start.

A key's secret is made here and shown once; the file keeps its SHA-256, one line a key: `label sha256hex [admin]`. The
secrets are 256 random bits, so a plain hash is enough: there is nothing to guess. Which paths need a key is the guard's
business.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gen_rerank.errors import BadInput

_ADMIN = "admin"
# A label stands in every log line, so it has a form that needs no quoting.
_LABEL = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Key:
    """Who asks.

    Attributes:
        label: what logs call the key.
        admin: whether it may also load and unload adapters.
    """

    label: str
    admin: bool = False


@dataclass(frozen=True)
class Keys:
    """The keys that are accepted.

    Attributes:
        by_hash: each key with the SHA-256 of its secret, 64 hexadecimal digits.
    """

    by_hash: tuple[tuple[str, Key], ...]

    @classmethod
    def read(cls, path: str | Path) -> Keys:
        """Read a key file.

        Raises:
            BadInput: the file cannot be read, has a malformed line, names a label or a key twice, or has no key.

        Example:
            >>> Keys.read("keys.txt").label_of("not a key") is None  # doctest: +SKIP
            True
        """
        path = Path(path)
        found = tuple(_entries(path))
        if not found:
            raise BadInput(f"{path}: it has no key, so nobody could ask; add one, or serve without a key file")
        return cls(found)

    def label_of(self, token: str) -> Key | None:
        """Return the key whose secret `token` is, or None; the time it takes tells nothing about the keys."""
        given = _hash(token)
        found = None
        for digest, key in self.by_hash:
            if hmac.compare_digest(given, digest):
                found = key
        return found


def add_key(path: str | Path, label: str, admin: bool = False) -> str:
    """Make a key, add its line to the file, and return its secret, which is not kept anywhere.

    The file is made when it does not exist, readable by its owner only.

    Args:
        path: the key file.
        label: 1 to 64 letters, digits, dots, hyphens or underscores; what logs will call the key.
        admin: whether it may also load and unload adapters.

    Raises:
        BadInput: a label of another form or already there, a file that is no key file or cannot be written.

    Example:
        >>> add_key("keys.txt", "shop-1")  # doctest: +SKIP
        'kZ3v…'
    """
    path = Path(path)
    if not _LABEL.fullmatch(label):
        raise BadInput(f"a label is 1 to 64 letters, digits, dots, hyphens or underscores, not {label[:80]!r}")
    if path.exists() and any(key.label == label for _, key in _entries(path)):
        raise BadInput(f"{path}: there is a key {label!r} already; choose another label or remove its line")
    secret = secrets.token_urlsafe()
    line = f"{label} {_hash(secret)}{f' {_ADMIN}' if admin else ''}\n"
    try:
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            size = os.fstat(file).st_size
            # The last line may have been typed without its end.
            start = "\n" if size > 0 and os.pread(file, 1, size - 1) != b"\n" else ""
            os.write(file, f"{start}{line}".encode())
        finally:
            os.close(file)
    except OSError as error:
        raise BadInput(f"{path}: cannot add a key ({error.strerror})") from error
    return secret


def _entries(path: Path) -> Iterator[tuple[str, Key]]:
    labels: dict[str, int] = {}
    digests: dict[str, int] = {}
    for number, line in enumerate(_text(path).split("\n"), start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        where = f"{path}:{number}"
        if len(words) not in (2, 3):
            raise BadInput(f"{where}: a line is `label sha256hex [{_ADMIN}]`, but this one has {len(words)} words")
        label, digest, *role = words
        if not _LABEL.fullmatch(label):
            raise BadInput(f"{where}: a label is 1 to 64 letters, digits, dots, hyphens or underscores")
        if not _HASH.fullmatch(digest):
            raise BadInput(f"{where}: the second word is not a SHA-256, which is 64 digits of 0-9 and a-f")
        if role and role != [_ADMIN]:
            raise BadInput(f"{where}: the third word can only be {_ADMIN!r}")
        if label in labels:
            raise BadInput(f"{where}: the label {label!r} stands in line {labels[label]} too; give each key its own")
        if digest in digests:
            raise BadInput(f"{where}: the same key stands in line {digests[digest]} too; remove one of them")
        labels[label] = digests[digest] = number
        yield digest, Key(label, admin=bool(role))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{path}: the key file cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: not a key file, it is not UTF-8 text") from error


def _hash(secret: str) -> str:
    # A header's bytes may be anything; a lone surrogate must not be an error.
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
