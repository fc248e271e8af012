"""The end of a run: all shards are counted, a pair that was given twice is kept once, and nothing is lost.

Each shard is read once more, its ids alone. Finishing may be killed and begun again: what it has done it finds done.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gen_rerank.data.records import BadRow
from gen_rerank.errors import BadInput
from gen_rerank.offline.inputs import Inputs, InputSlice
from gen_rerank.offline.kept import KeptScores
from gen_rerank.offline.manifest import Totals
from gen_rerank.offline.shards import (
    SCHEMA,
    SCORES,
    ShardFigures,
    bad_rows_file,
    figures_of,
    halves,
    read_bad_rows,
    read_columns,
    shard_file,
    write_shard,
)
from gen_rerank.offline.spread import Records, Spread
from gen_rerank.reporting.numbers import counted
from gen_rerank.scorers.scorer import Advance, unwatched

_GIVEN = np.dtype([("high", "<u8"), ("low", "<u8"), ("slice", "<u4"), ("row", "<u4"), ("line", "<u8")])


@dataclass(frozen=True)
class Repeated:
    """A pair that was given before.

    Attributes:
        row: of its shard.
        first_slice: the number of the slice that has it first.
        first_line: of that slice's file.
    """

    row: int
    first_slice: int
    first_line: int


def missing_slices(out: Path, run: str, inputs: Inputs) -> list[InputSlice]:
    """Return the slices that have no shard of this run yet; a damaged shard is none."""
    return [one for one in inputs.slices if not _is_done(out, run, one)]


def finish(
    out: Path, workplace: Path, run: str, inputs: Inputs, kept: Path | None, advance: Advance = unwatched
) -> Totals:
    """Keep each pair once, and count.

    Args:
        out: the folder of the run, in which all shards are.
        workplace: an empty folder on the same disk.
        run: the fingerprint of model and data.
        inputs: what was scored.
        kept: the scores of an earlier run; None where there are none.
        advance: is told of each shard that was read.

    Raises:
        BadInput: a shard is missing or damaged, or a file lies among the shards that is none of them.
        OSError: a shard cannot be written.
    """
    _refuse_strangers(out, inputs)
    earlier = None if kept is None else KeptScores(kept)
    figures = [_figures(out, run, one) for one in inputs.slices]
    given = Spread(workplace / "given", _GIVEN, sum(one.pairs for one in figures))
    for number, one in enumerate(inputs.slices):
        given.add(_given(shard_file(out, one.shard), number))
        advance(1)
    given.sort()
    for number, repeated in _repeated(given).items():
        figures[number] = _without(out, workplace, inputs, number, repeated, figures[number], earlier)
    used, bad = sum(one.used for one in figures), sum(one.bad for one in figures)
    return Totals(
        rows=inputs.rows,
        pairs=sum(pq.read_metadata(shard_file(out, one.shard)).num_rows for one in inputs.slices),
        reused=sum(one.reused for one in figures),
        bad=bad,
        lost=inputs.rows - used - bad,
        dropped=None if earlier is None else _dropped(out, workplace, inputs, earlier),
    )


def _is_done(out: Path, run: str, one: InputSlice) -> bool:
    said = figures_of(shard_file(out, one.shard))
    return said is not None and (said.run, said.shard) == (run, one.shard)


def _figures(out: Path, run: str, one: InputSlice) -> ShardFigures:
    said = figures_of(shard_file(out, one.shard))
    if said is None or said.run != run:
        raise BadInput(f"{shard_file(out, one.shard)}: is gone or damaged; run the same command again")
    return said


def _refuse_strangers(out: Path, inputs: Inputs) -> None:
    """Refuse files among the shards that are none: whoever reads the folder would read them too."""
    ours = {shard_file(out, one.shard).name for one in inputs.slices}
    for path in sorted((out / SCORES).iterdir()):
        if path.name not in ours and path.name[0] not in "._":  # which nobody reads
            raise BadInput(f"{path}: is no shard of these scores; move it away and run the same command again")


def _given(shard: Path, number: int) -> Records:
    table = read_columns(shard, ("query_id", "product_id", "line"))
    names = zip(table["query_id"].to_pylist(), table["product_id"].to_pylist(), strict=True)
    keys = b"".join(blake2b(f"{query}\0{product}".encode(), digest_size=16).digest() for query, product in names)
    records = np.zeros(len(table), dtype=_GIVEN)
    records["high"], records["low"] = halves(keys)
    records["slice"], records["row"] = number, np.arange(len(table))
    records["line"] = table["line"].to_numpy()
    return records


def _repeated(given: Spread) -> dict[int, list[Repeated]]:
    """Return the pairs that come again, by the slices in which they do."""
    found: dict[int, list[Repeated]] = defaultdict(list)
    for records in given.files():
        again = np.zeros(len(records), dtype=bool)
        again[1:] = (records["high"][1:] == records["high"][:-1]) & (records["low"][1:] == records["low"][:-1])
        firsts = np.maximum.accumulate(np.where(again, 0, np.arange(len(records))))
        for place in np.flatnonzero(again):
            one, first = records[place], records[firsts[place]]
            found[int(one["slice"])].append(Repeated(int(one["row"]), int(first["slice"]), int(first["line"])))
    return found


def _without(
    out: Path,
    workplace: Path,
    inputs: Inputs,
    number: int,
    repeated: Sequence[Repeated],
    figures: ShardFigures,
    earlier: KeptScores | None,
) -> ShardFigures:
    """Write a shard again without the pairs that were given before, which become bad rows; return its figures."""
    one = inputs.slices[number]
    table = read_columns(shard_file(out, one.shard), SCHEMA.names)
    bad: dict[int, BadRow] = {}
    for each in sorted(repeated, key=lambda given: given.row):
        row = table.slice(each.row, 1).to_pylist()[0]
        first = f"{inputs.slices[each.first_slice].file.path}:{each.first_line}"
        reason = f"{row['query_id']} × {row['product_id']} was already given in {first}"
        bad.setdefault(row["line"], BadRow(str(one.file.path), row["line"], reason))
    places = np.array([each.row for each in repeated])
    reused = 0 if earlier is None else earlier.count(table["content"].take(pa.array(places)))
    stays = np.ones(len(table), dtype=bool)
    stays[places] = False
    left = table.filter(pa.array(stays))
    before = read_bad_rows(bad_rows_file(out, one.shard))
    told = {row.line for row in before}
    new = [row for row in bad.values() if row.line not in told]
    gone = len(set(bad) - set(left["line"].to_pylist()))
    written = replace(
        figures,
        used=figures.used - gone,
        bad=figures.bad + gone,
        pairs=len(left),
        reused=max(0, figures.reused - reused),
    )
    write_shard(out, workplace, left, written, [*before, *new])
    return written


def _dropped(out: Path, workplace: Path, inputs: Inputs, earlier: KeptScores) -> int:
    """Return how many scores of the earlier run no pair of this one has."""
    columns = (read_columns(shard_file(out, one.shard), ("content",))["content"] for one in inputs.slices)
    return earlier.unused(columns, workplace / "here")


def remark(totals: Totals) -> str:
    """Return what became of the rows, in words.

    Example:
        >>> remark(Totals(rows=10, pairs=9, reused=3, bad=1, lost=0, dropped=2))
        '9 pairs of 10 rows; bad rows 1, lost 0; reused 33.3%, scored 66.7%, dropped 2 earlier scores'
    """
    said = f"{counted(totals.pairs, 'pair')} of {counted(totals.rows, 'row')}; bad rows {totals.bad:,}, "
    said += f"lost {totals.lost:,}"
    if totals.dropped is None:
        return said
    share = totals.reused / max(1, totals.pairs)
    return (
        f"{said}; reused {share:.1%}, scored {1 - share:.1%}, "
        f"dropped {counted(totals.dropped, 'earlier score', 'earlier scores')}"
    )
