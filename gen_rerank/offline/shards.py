"""A shard: the scores of one slice as a Parquet file, which says of itself what it is and appears whole.

It is filled under another name, flushed to the disk, and renamed last: a file with a shard's name is a shard that is
done. Its footer has the run that it belongs to, so that what a stray worker of another run leaves is not taken for it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from gen_rerank.bins import BIN_COUNT, Distribution
from gen_rerank.data.records import BadRow
from gen_rerank.errors import BadInput, first_line
from gen_rerank.offline.rows import NamedPair
from gen_rerank.system.publishing import naming_the_file, write_text_whole

SCORES, BAD_ROWS = "scores", "bad_rows"
KEY_BYTES = 16
SCHEMA = pa.schema(
    [
        ("query_id", pa.string()),
        ("product_id", pa.string()),
        ("probabilities", pa.list_(pa.float32(), BIN_COUNT)),
        ("score", pa.float32()),
        ("std", pa.float32()),
        ("tier", pa.string()),
        ("model", pa.string()),
        ("content", pa.binary(KEY_BYTES)),
        ("line", pa.int64()),
    ]
)
_SAID = b"gen_rerank"


@dataclass(frozen=True)
class ShardFigures:
    """What became of the rows of a slice.

    Attributes:
        shard: its name.
        run: the fingerprint of model and data.
        used: rows that gave pairs, or were queries that nothing was found for.
        bad: rows that could not be used.
        pairs: that the shard holds.
        reused: of them, those whose scores an earlier run had.
    """

    shard: str
    run: str
    used: int
    bad: int
    pairs: int
    reused: int


def shard_file(out: Path, shard: str) -> Path:
    """Return where a shard of scores is."""
    return out / SCORES / f"{shard}.parquet"


def bad_rows_file(out: Path, shard: str) -> Path:
    """Return where the bad rows of a shard are, if it has any."""
    return out / BAD_ROWS / f"{shard}.jsonl"


def shard_table(
    pairs: Sequence[NamedPair],
    scored: Distribution,
    tiers: Sequence[str | None],
    keys: Sequence[bytes],
    model: str,
) -> pa.Table:
    """Return the columns of n pairs with their scores."""
    probabilities = pa.FixedSizeListArray.from_arrays(pa.array(scored.probabilities.ravel()), BIN_COUNT)
    return pa.table(
        [
            pa.array([one.query_id for one in pairs], pa.string()),
            pa.array([one.product_id for one in pairs], pa.string()),
            probabilities,
            pa.array(scored.mean),
            pa.array(scored.std),
            pa.array(tiers, pa.string()),
            pa.array([model] * len(pairs), pa.string()),
            pa.array(keys, pa.binary(KEY_BYTES)),
            pa.array([one.line for one in pairs], pa.int64()),
        ],
        schema=SCHEMA,
    )


def write_shard(out: Path, workplace: Path, table: pa.Table, figures: ShardFigures, bad: Sequence[BadRow]) -> None:
    """Write a shard, and its bad rows before it.

    Args:
        out: the folder of the run.
        workplace: on the same disk; whoever writes the same shard at the same time writes the same there.
        table: its columns.
        figures: that its footer says.
        bad: rows with their reasons.

    Raises:
        OSError: it cannot be written; the error names the file.
    """
    if bad:
        write_bad_rows(bad_rows_file(out, figures.shard), bad)
    said = {_SAID: json.dumps(asdict(figures)).encode()}
    content = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(said), content, compression="zstd")
    partial = workplace / f"{figures.shard}.{os.getpid()}.partial"
    with naming_the_file(partial):
        with partial.open("wb") as file:
            file.write(content.getvalue())
            file.flush()
            os.fsync(file.fileno())
        partial.replace(shard_file(out, figures.shard))


def write_bad_rows(file: Path, bad: Sequence[BadRow]) -> None:
    """Write rows that could not be used as JSON Lines: file, line and reason of each, once."""
    rows = dict.fromkeys(json.dumps(asdict(row), ensure_ascii=False) for row in bad)
    write_text_whole(file, "".join(f"{row}\n" for row in rows))


def read_bad_rows(file: Path) -> list[BadRow]:
    """Return what `write_bad_rows` wrote; nothing where there is no such file."""
    if not file.exists():
        return []
    return [BadRow(**json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]


def figures_of(file: Path) -> ShardFigures | None:
    """Return what the footer of a shard says; None where the file is no shard, or a damaged one.

    Example:
        >>> figures_of(Path("/no/such/shard.parquet")) is None
        True
    """
    try:
        said = pq.read_metadata(file).metadata or {}
        return ShardFigures(**json.loads(said[_SAID]))
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError):
        return None


def read_columns(file: Path, columns: Sequence[str]) -> pa.Table:
    """Return some columns of a shard.

    Raises:
        BadInput: it is damaged.
    """
    try:
        return pq.ParquetFile(file).read(list(columns))
    except (pa.ArrowException, OSError, KeyError) as error:
        raise BadInput(
            f"{file}: is damaged ({first_line(error)}); remove it, and run the command of its folder again"
        ) from error


def key_halves(column: Any) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Return the two halves of a column of keys, each `[n]`.

    Args:
        column: of fixed binaries of `KEY_BYTES`, without nulls.
    """
    return halves(b"".join(column.to_pylist()))


def halves(keys: bytes) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    r"""Return the two halves of keys that stand one behind the other, each `[n]`; they order as the keys do.

    Example:
        >>> [half.tolist() for half in halves(bytes(15) + b"\x01")]
        [[0], [1]]
    """
    both = np.frombuffer(keys, dtype=">u8").reshape(-1, 2).astype(np.uint64)
    return both[:, 0], both[:, 1]
