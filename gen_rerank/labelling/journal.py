"""The journal of a labelling: one SQLite file with every answer, written before the next question is counted as done.

Its key is the judge, the prompt (all that changes an answer), the pair (its texts) and the attempt. A run that is
killed, however that happens, finds there what it need not ask again. It holds grades, tokens and times, and no text of
a query or a product, no answer's text and no key.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from gen_rerank.data.records import Pair
from gen_rerank.errors import BadInput
from gen_rerank.labelling.judges import Judge
from gen_rerank.labelling.rubrics import quoted_pair

_FORMAT = 1
_TABLE = """
CREATE TABLE IF NOT EXISTS answers (
    number INTEGER PRIMARY KEY,
    judge TEXT NOT NULL, prompt TEXT NOT NULL, pair TEXT NOT NULL, attempt INTEGER NOT NULL,
    query_id TEXT NOT NULL, product_id TEXT NOT NULL,
    relevance REAL, probabilities TEXT, fault TEXT,
    input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, seconds REAL NOT NULL, at REAL NOT NULL,
    UNIQUE (judge, prompt, pair, attempt)
)
"""
# A second run on the same journal would ask everything a second time; it is given a moment, as the first may be ending.
_WAIT_SECONDS = 1.0


@dataclass(frozen=True)
class JudgeAnswer:
    """What a judge said of a pair.

    Attributes:
        relevance: in [0, 1]; None where the answer could not be used.
        probabilities: of the rubric's grades, from worst to best, where the judge gives a distribution.
        fault: why it could not be used, in a few words of ours.
        input_tokens: as the server counted them.
        output_tokens: as the server counted them.
        seconds: from the question to the answer, pauses and repetitions included.
    """

    relevance: float | None
    probabilities: tuple[float, ...] | None = None
    fault: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class JournalRow:
    """An answer as the journal keeps it.

    Attributes:
        number: rows are numbered in the order in which answers came, whichever judge gave them.
        pair: the `key` of the pair.
        attempt: 0, or 1 where it was asked again.
        at: when it came, in seconds since 1970.
        answer: what was said.
    """

    number: int
    pair: str
    attempt: int
    at: float
    answer: JudgeAnswer


@dataclass(frozen=True)
class JudgedPair:
    """A pair with the ids that it has in the data."""

    query_id: str
    product_id: str
    pair: Pair

    @cached_property
    def key(self) -> str:
        """A hash of what judges read of it, 32 hexadecimal digits."""
        return hashlib.sha256(quoted_pair(self.pair).encode()).hexdigest()[:32]


class Journal:
    """An open journal; `opened` opens one."""

    def __init__(self, connection: sqlite3.Connection, file: Path) -> None:
        """Take an open connection; most people call `opened`."""
        self._connection = connection
        self.file = file

    def keep(self, judge: Judge, judged: JudgedPair, attempt: int, answer: JudgeAnswer) -> None:
        """Write an answer down; it is on the disk when this returns.

        Raises:
            BadInput: it cannot be written.
        """
        probabilities = None if answer.probabilities is None else json.dumps(answer.probabilities)
        row = (
            judge.name, judge.prompt_hash, judged.key, attempt, judged.query_id, judged.product_id,
            answer.relevance, probabilities, answer.fault,
            answer.input_tokens, answer.output_tokens, answer.seconds, time.time(),
        )  # fmt: skip
        with _in_words(self.file), self._connection:
            self._connection.execute(f"INSERT INTO answers VALUES (NULL{', ?' * len(row)})", row)  # noqa: S608

    def rows(self, judge: Judge) -> list[JournalRow]:
        """Return all that a judge has said with the prompt that it has now, in the order in which it came."""
        with _in_words(self.file):
            found = self._connection.execute(
                "SELECT number, pair, attempt, at, relevance, probabilities, fault, input_tokens, output_tokens, "
                "seconds FROM answers WHERE judge = ? AND prompt = ? ORDER BY number",
                (judge.name, judge.prompt_hash),
            ).fetchall()
        return [
            JournalRow(number, pair, attempt, at, JudgeAnswer(relevance, _probabilities(written), *rest))
            for number, pair, attempt, at, relevance, written, *rest in found
        ]


def _probabilities(written: str | None) -> tuple[float, ...] | None:
    return None if written is None else tuple(json.loads(written))


@contextmanager
def opened(file: Path) -> Iterator[Journal]:
    """Open a journal, or make one; only one run has it at a time.

    Raises:
        BadInput: another run has it, the file is no journal, or it cannot be written.

    Example:
        >>> with opened(Path("runs/shop.journal")) as journal:  # doctest: +SKIP
        ...     journal.rows(judge)
    """
    with _in_words(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(file, timeout=_WAIT_SECONDS)
    try:
        with _in_words(file):
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version not in (0, _FORMAT):
                raise BadInput(f"{file}: the journal is of another version; give another with --journal")
            with connection:
                connection.execute(_TABLE)
                connection.execute(f"PRAGMA user_version = {_FORMAT}")
        yield Journal(connection, file)
    finally:
        connection.close()


@contextmanager
def _in_words(file: Path) -> Iterator[None]:
    """Say in one sentence what is wrong with a journal.

    Raises:
        BadInput: SQLite or the system says so.
    """
    try:
        yield
    except OSError as error:
        raise BadInput(f"{file}: the journal cannot be written ({error.strerror})") from error
    except sqlite3.Error as error:
        if error.sqlite_errorcode in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise BadInput(f"{file}: another run has this journal; wait for its end") from error
        if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
            raise BadInput(f"{file}: the disk is full; all answers before are kept, make room and go on") from error
        raise BadInput(f"{file}: is no journal of gen-rerank label, or is damaged ({error})") from error
