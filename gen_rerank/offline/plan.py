"""What one run scores, with what, and where the scores go; and what may not be asked for together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gen_rerank.errors import BadInput
from gen_rerank.offline.manifest import MANIFEST
from gen_rerank.offline.shards import BAD_ROWS, SCORES
from gen_rerank.system.publishing import refuse_taken, require_makeable, workplace_of

SHARD_ROWS = 4096
CANDIDATES = 256


@dataclass(frozen=True)
class ScoringPlan:
    """One run.

    Attributes:
        model: a folder or hub name.
        out: the folder of the scores.
        pairs: a file or folder of pairs; None where an index finds them.
        data: a data folder whose texts pairs of ids are joined with.
        queries: a file of queries, for an index.
        index: a folder that `gen-rerank index` wrote.
        top: how many candidates of a query.
        backend: that computes.
        dtype: `auto`, `float32` or `bfloat16`.
        adapter: on the model.
        reuse: the folder of an earlier run, whose scores are taken where the model would read the same.
        shard_rows: the most rows of a shard.
    """

    model: str
    out: Path
    pairs: Path | None = None
    data: Path | None = None
    queries: Path | None = None
    index: Path | None = None
    top: int = CANDIDATES
    backend: str = "transformers"
    dtype: str = "auto"
    adapter: str | None = None
    reuse: Path | None = None
    shard_rows: int = SHARD_ROWS

    @property
    def given(self) -> Path:
        """The file or folder that is cut into slices: of pairs, or of queries."""
        found = self.pairs or self.queries
        assert found is not None
        return found

    def check(self) -> None:
        """Refuse what does not go together, and places that cannot be written; nothing is read or made.

        Raises:
            BadInput: one of the two.

        Example:
            >>> ScoringPlan("runs/model", Path("runs/scores"), data=Path("shop")).check()
            Traceback (most recent call last):
            gen_rerank.errors.BadInput: nothing to score; give PAIRS, or --queries and --index
        """
        if self.pairs is None and self.queries is None and self.index is None:
            raise BadInput("nothing to score; give PAIRS, or --queries and --index")
        if self.pairs is not None and not (self.queries is self.index is None):
            raise BadInput("PAIRS are scored as they are, --queries and --index find some; give one of the two")
        if self.pairs is None and (self.queries is None or self.index is None):
            raise BadInput("--queries and --index go together: an index finds the candidates of queries")
        if self.pairs is None and self.data is not None:
            raise BadInput("--data joins pairs of ids with texts; with --index the texts are the index's")
        if self.shard_rows < 1:
            raise BadInput(f"--shard-rows is {self.shard_rows}; give a whole number from 1 on")
        self._check_place()

    def _check_place(self) -> None:
        if self.out.suffix in (".jsonl", ".parquet", ".json"):
            raise BadInput(f"{self.out}: scores of pairs are many files; name a folder")
        require_makeable(self.out)
        out = self.out.resolve()
        names = (self.pairs, self.index, self.reuse, self.model, self.adapter)
        read = [Path(one).resolve() for one in names if one is not None]
        for place in read:
            if out == place or place in out.parents:
                raise BadInput(f"{self.out}: is {place}, which is read, or lies in it; choose another place")
        for place in (*read, *(one.resolve() for one in (self.data, self.queries) if one is not None)):
            if out == place or out in place.parents:
                raise BadInput(f"{self.out}: holds {place}, which is read; choose another place")
        ours = {MANIFEST, SCORES, BAD_ROWS, workplace_of(out / SCORES).name}
        begun = out.is_dir() and ((out / MANIFEST).is_file() or {path.name for path in out.iterdir()} <= ours)
        if not begun:
            refuse_taken(out)
