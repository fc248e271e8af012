"""A checkpoint as a cross-encoder of mteb's, so that `ERESSReranking` and every other reranking task run it.

A document's title is the product's title and its text the description; what a score is, and which text is cut first,
stays the checkpoint's. Tasks, data, measures and result files are mteb's. mteb is imported when it asks for something,
and nothing here reaches for the hub.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from gen_rerank.bins import Floats
from gen_rerank.checkpoints.card import Calibration
from gen_rerank.data.documents import NoText, product_of
from gen_rerank.data.records import Pair
from gen_rerank.data.values import text
from gen_rerank.reporting.progress import WorkProgress, progress_console
from gen_rerank.scorers.opening import Backend, DtypeChoice, PreparedScorer, prepare_scorer
from gen_rerank.scorers.scorer import TokenScorer

if TYPE_CHECKING:
    from mteb.models.model_meta import ModelMeta

# Pairs at a time: enough for a backend to sort by length, and few enough to hold.
PAIRS_AT_A_TIME = 2048
# Of a pair of which one side has no text: nothing can be read, and mteb wants a number.
_UNREAD = 0.0

# A pair that can be read or not, and the instruction that its query brings.
_Given = tuple[Pair | None, str | None]


class MtebReranker:
    """Scores the pairs of a reranking task of mteb's.

    Args:
        scorer: an opened checkpoint.
        name: under which mteb keeps results, as `owner/model`.
        revision: names the state of the weights and of the calibration, since mteb shows results that it kept under the
            same name and revision instead of measuring again.

    Example:
        >>> import mteb  # doctest: +SKIP
        >>> model = MtebReranker.load("runs/model")  # doctest: +SKIP
        >>> mteb.evaluate(model, mteb.get_task("ERESSReranking"))  # doctest: +SKIP
    """

    def __init__(self, scorer: TokenScorer, name: str, revision: str) -> None:
        self.scorer = scorer
        self.name = name
        self.revision = revision

    @classmethod
    def load(
        cls,
        model: str | Path,
        backend: Backend = "transformers",
        *,
        adapter: str | Path | None = None,
        dtype: DtypeChoice = "auto",
    ) -> Self:
        """Open a checkpoint folder or hub name.

        mteb knows a folder as `gen_rerank/<its name>`, with the adapter's behind a plus sign.

        Args:
            model: the folder or the hub name.
            backend: what computes.
            adapter: the folder or hub name of a LoRA adapter that was trained on this checkpoint.
            dtype: of weights and activations; `auto`, as in the commands, is bfloat16 for a decoder where this machine
                has it, and float32 elsewhere.

        Raises:
            BadInput: the checkpoint or the adapter is refused, or there is no such backend or number type.
        """
        prepared = prepare_scorer(model, backend, adapter, dtype)
        scorer = prepared.open()
        names = "+".join(Path(each).resolve().name for each in (model, adapter) if each is not None)
        name = str(model) if adapter is None and not Path(model).is_dir() else f"gen_rerank/{names}"
        return cls(scorer, name, revision_of(prepared, scorer.checkpoint.card.calibration))

    @cached_property
    def mteb_model_meta(self) -> ModelMeta:
        """What mteb writes into its results of this model."""
        from mteb.models.model_meta import ModelMeta

        about = {
            "name": self.name,
            "revision": self.revision,
            "model_type": ["cross-encoder"],
            "max_tokens": self.scorer.checkpoint.prompt.spec.max_length,
            "use_instructions": True,
        }
        return ModelMeta.create_empty(overwrites=about)

    def predict(
        self, inputs1: Iterable[Mapping[str, Any]], inputs2: Iterable[Mapping[str, Any]], **options: Any
    ) -> Floats:
        """Return one score a pair, `[n]` float32 in [0, 1], in order; mteb calls this.

        A query's own instruction, which some tasks have, stands in for the checkpoint's. A pair of which one side has
        no text has the score 0.

        Args:
            inputs1: batches of queries: a list under `query`, and under `instruction` where a task has any.
            inputs2: batches of as many documents: lists under `body`, and under `title` where they have one.
            options: what mteb says of the task; `show_progress_bar` is read.
        """
        given = zip(_queries(inputs1), _documents(inputs2), strict=True)
        pairs = (_given(query, document) for query, document in given)
        found = [np.zeros(0, dtype=np.float32)]
        shown = options.get("show_progress_bar", True)
        with WorkProgress(transient=True, console=progress_console(quiet=not shown)) as progress:
            task = progress.add_task("scoring", total=None)
            while part := list(islice(pairs, PAIRS_AT_A_TIME)):
                found.append(self._scores(part))
                progress.advance(task, len(part))
        return np.concatenate(found)

    def _scores(self, part: list[_Given]) -> Floats:
        scores = np.full(len(part), _UNREAD, dtype=np.float32)
        readable = [place for place, (pair, _) in enumerate(part) if pair is not None]
        for instruction, group in groupby(readable, key=lambda place: part[place][1]):
            places = list(group)
            pairs = [pair for pair, _ in (part[place] for place in places) if pair is not None]
            scores[places] = self.scorer.score(pairs, instruction=instruction).mean
        return scores


def revision_of(prepared: PreparedScorer, calibration: Calibration) -> str:
    """Return 16 hexadecimal digits of all that moves a score, so that mteb never tells one model's results for another.

    Args:
        prepared: weights, adapter, backend and number type.
        calibration: of the scorer that was opened.

    Example:
        >>> revision_of(prepare_scorer("runs/model"), calibration)  # doctest: +SKIP
        '7cf6e1cac4c0db2d'
    """
    adapter = prepared.adapter.fingerprint if prepared.adapter else ""
    states = (prepared.checkpoint.fingerprint, calibration.model_dump_json(), adapter, str(prepared))
    return hashlib.sha256("\n".join(states).encode()).hexdigest()[:16]


def _queries(batches: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str | None]]:
    """Yield each query with its instruction."""
    for batch in batches:
        queries = batch["query"]
        instructions = batch.get("instruction") or [None] * len(queries)
        for query, instruction in zip(queries, instructions, strict=True):
            yield query, text(instruction)


def _documents(batches: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, str]]:
    """Yield each document as an object of a product's: with a title and a description, or with a text alone."""
    for batch in batches:
        bodies = batch["body"]
        for title, body in zip(batch.get("title") or [""] * len(bodies), bodies, strict=True):
            yield {"title": title, "description": body} if text(title) else {"text": body}


def _given(query: tuple[str, str | None], document: dict[str, str]) -> _Given:
    """Return the pair of a query and a document, with the query's instruction; no pair where one side has no text."""
    written, instruction = query
    try:
        product = product_of(document, "document")
    except NoText:
        return None, instruction
    return (Pair(written, product) if text(written) else None), instruction
