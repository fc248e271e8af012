"""A slice becomes a shard: pairs are read, scored or found among earlier scores, and written whole.

The same code runs in the driver and in a worker of Ray; who gives it slices is `engines`'. A slice that is done twice
gives the same shard, under the same name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa

from gen_rerank.bins import BIN_COUNT, Distribution
from gen_rerank.calibration.tiers import tiers
from gen_rerank.errors import BadInput, first_line
from gen_rerank.offline.identity import content_key, fingerprint_of
from gen_rerank.offline.inputs import InputSlice
from gen_rerank.offline.kept import KeptScores
from gen_rerank.offline.rows import NamedPair
from gen_rerank.offline.shards import SCHEMA, ShardFigures, shard_table, write_shard
from gen_rerank.offline.sources import RowCount, Source
from gen_rerank.scorers.opening import prepare_scorer
from gen_rerank.scorers.scorer import Advance, unwatched
from gen_rerank.system.memory import is_out_of_memory
from gen_rerank.system.publishing import is_full_disk

# Pairs that are read, scored and kept at once; the scorer sorts them by length.
_PART = 2048


@dataclass(frozen=True)
class ScoringJob:
    """What every worker of a run is told; it can be sent to another process.

    Attributes:
        run: the fingerprint of model and data.
        model: a folder, from the root, or a hub name.
        adapter: likewise.
        backend: that computes.
        dtype: of weights and activations.
        fingerprint: that the model must have.
        out: the folder of the run.
        workplace: a folder beside the scores, for what is not finished.
        source: where pairs come from.
        kept: the scores of an earlier run; None where there are none.
    """

    run: str
    model: str
    adapter: str | None
    backend: str
    dtype: str
    fingerprint: str
    out: Path
    workplace: Path
    source: Source
    kept: Path | None


class SliceScorer:
    """Scores slices of one run; the model is loaded when it is made.

    Example:
        >>> SliceScorer(job).score(inputs.slices[0]).pairs  # doctest: +SKIP
        4096
    """

    def __init__(self, job: ScoringJob) -> None:
        """Open all that scoring needs.

        Raises:
            BadInput: the model is refused, or is another one than the run's.
        """
        prepared = prepare_scorer(job.model, job.backend, job.adapter, job.dtype)
        if fingerprint_of(prepared) != job.fingerprint:
            raise BadInput(f"{job.model}: is another model here than where the run was started, or was changed since")
        self._job = job
        self._thresholds = prepared.calibration.thresholds
        self._source = job.source.open()
        self._kept = None if job.kept is None else KeptScores(job.kept)
        self._scorer = prepared.open()

    def score(self, given: InputSlice, advance: Advance = unwatched) -> ShardFigures:
        """Score a slice and write its shard.

        Args:
            given: the slice.
            advance: is told how many pairs were done, a batch at a time.

        Raises:
            BadInput: the file is another one than when it was cut, or its end came too early.
            OSError: the shard cannot be written.
        """
        given.file.require_unchanged()
        count = RowCount(0, [])
        tables, reused = [], 0
        for pairs in _parts(self._source.pairs(given, count)):
            table, known = self._scored(pairs, advance)
            tables.append(table)
            reused += known
        given.file.require_unchanged()
        if count.used + len(count.bad) != given.part.rows:
            raise BadInput(f"{given.file.path}: has other rows than when it was first read; is its disk at fault?")
        table = pa.concat_tables(tables) if tables else SCHEMA.empty_table()
        figures = ShardFigures(given.shard, self._job.run, count.used, len(count.bad), len(table), reused)
        write_shard(self._job.out, self._job.workplace, table, figures, count.bad)
        return figures

    def close(self) -> None:
        """Stop what the scorer's backend started."""
        self._scorer.close()

    def _scored(self, pairs: Sequence[NamedPair], advance: Advance) -> tuple[pa.Table, int]:
        """Return the columns of pairs, and how many of them had scores already."""
        encoded = self._scorer.checkpoint.prompt.encode([one.pair for one in pairs])
        keys = [content_key(self._job.fingerprint, token_ids) for token_ids in encoded]
        probabilities = np.zeros((len(pairs), BIN_COUNT), np.float32)
        known = np.zeros(len(pairs), dtype=bool)
        if self._kept is not None:
            known = self._kept.fill(keys, probabilities)
            advance(int(known.sum()))
        new = np.flatnonzero(~known)
        if len(new):
            scored = self._scorer.score_tokens([encoded[i] for i in new], advance)
            probabilities[new] = scored.probabilities
        rows = Distribution(probabilities)
        names = tiers(rows.mean, self._thresholds)
        return shard_table(pairs, rows, names, keys, self._job.fingerprint), int(known.sum())


def _parts(pairs: Iterable[NamedPair]) -> Iterator[list[NamedPair]]:
    rest = iter(pairs)
    while part := list(islice(rest, _PART)):
        yield part


def trouble(error: Exception) -> str | None:
    """Return the sentence for what stops a run without being a bug of ours; None for a bug.

    Example:
        >>> trouble(BadInput("p.jsonl: is gone")), trouble(KeyError("x"))
        ('p.jsonl: is gone', None)
    """
    if isinstance(error, BadInput):
        return str(error)
    if isinstance(error, OSError):
        full = " (the disk is full; make room, and run the same command again)" if is_full_disk(error) else ""
        return f"{error.filename or 'input/output'}: {error.strerror or error}{full}"
    if is_out_of_memory(error):
        return f"there is not enough memory ({first_line(error)}); take fewer workers, or a larger machine"
    return None
