"""What a teacher has answered, kept by content in an SQLite file, so that nothing is read twice.

A key is a hash of the teacher's fingerprint and of what it read, so that a file serves several teachers, data sets and
runs; each part that is added is there whole or not at all, whenever a process is killed. What is read, and how it
becomes a distribution, `teacher` knows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from hashlib import blake2b
from pathlib import Path

import numpy as np

from gen_rerank.bins import Floats
from gen_rerank.errors import BadInput
from train.saved_states import CanGoOn

FILE = "teacher.sqlite"
_PATIENCE = 60.0  # seconds that another run may take for a part


def content_key(fingerprint: str, content: bytes) -> bytes:
    """Return the key, 16 bytes, of what a teacher reads.

    Example:
        >>> content_key("teacher", b"oak desk") == content_key("another", b"oak desk")
        False
    """
    return blake2b(fingerprint.encode() + b"\0" + content, digest_size=16).digest()


class TeacherCache:
    """Vectors of float32 by keys, in one file.

    Args:
        file: made where it is not there.

    Raises:
        BadInput: it cannot be written, or is something else.

    Example:
        >>> cache = TeacherCache(Path("runs/cache/teacher.sqlite"))  # doctest: +SKIP
        >>> cache.add([key], np.full((1, 11), 1 / 11, np.float32))  # doctest: +SKIP
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        with self._in_words():
            file.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._connected()) as database, database:
                database.execute("CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, row BLOB) WITHOUT ROWID")

    def missing(self, keys: Iterable[bytes]) -> set[bytes]:
        """Return the keys that nothing is kept for."""
        asked = set(keys)
        with self._in_words(), closing(self._connected()) as database:
            known = database.execute("SELECT key FROM answers")
            return asked.difference(key for (key,) in known)

    def add(self, keys: Sequence[bytes], rows: Floats) -> None:
        """Keep the rows `[n, k]` of n keys, all or none of them."""
        content = [(key, np.ascontiguousarray(row, dtype="<f4").tobytes()) for key, row in zip(keys, rows, strict=True)]
        with self._in_words(), closing(self._connected()) as database, database:
            database.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?)", content)

    def rows(self, keys: Sequence[bytes]) -> Floats:
        """Return the rows `[n, k]` of n keys, in their order; all of them are kept."""
        with self._in_words(), closing(self._connected()) as database:
            found = [
                database.execute("SELECT row FROM answers WHERE key = ?", (key,)).fetchone()[0]
                for key in dict.fromkeys(keys)
            ]
        by_key = dict(zip(dict.fromkeys(keys), found, strict=True))
        return np.stack([np.frombuffer(by_key[key], dtype="<f4") for key in keys])

    def _connected(self) -> sqlite3.Connection:
        return sqlite3.connect(self.file, timeout=_PATIENCE)

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise CanGoOn(
                f"{self.file}: the teacher's answers cannot be kept ({error}); make room and go on with --resume"
            ) from error
        except (sqlite3.DatabaseError, OSError) as error:
            raise BadInput(f"{self.file}: holds no answers of teachers ({error}); name another --cache") from error
