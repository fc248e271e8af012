"""Both models of a cascade, opened: pairs go in, distributions come out, and for each it is said who read it.

Whatever becomes of the decoder, there is an answer: where it is late or down, the encoder's, with a flag.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Literal, Self

from gen_rerank.bins import Distribution
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.data.records import Pair
from gen_rerank.errors import BadInput, first_line
from gen_rerank.scorers.scorer import TokenScorer
from gen_rerank.search.cascade.calibrating import prepared_models
from gen_rerank.search.cascade.card import CASCADE, PLACES, CascadeCard, identity
from gen_rerank.search.cascade.reading import NO_LIMIT, Bounds, Reading, ReadingBudget, read_undecided

ReadBy = Literal["encoder", "decoder"]
ENCODER: ReadBy = "encoder"
DECODER: ReadBy = "decoder"


@dataclass(frozen=True)
class CascadeChoices:
    """Which cascade is opened, and how.

    Attributes:
        encoder: a checkpoint folder or hub name.
        decoder: the same.
        file: its card; None for `cascade.json` in the encoder's folder.
        bounds: set by hand, instead of a card's.
        places: k, beside bounds by hand.
        budget: of each query.
        adapter: of the decoder.
        backend: of the decoder.
        dtype: of both.
        encoder_backend: of the encoder: `transformers` or `openvino`.
    """

    encoder: str
    decoder: str
    file: Path | None = None
    bounds: Bounds | None = None
    places: int = PLACES
    budget: ReadingBudget = NO_LIMIT
    adapter: str | None = None
    backend: str = "transformers"
    dtype: str = "auto"
    encoder_backend: str = "transformers"

    @classmethod
    def parse(
        cls, text: str, *, adapter: str | None = None, backend: str = "transformers", dtype: str = "auto"
    ) -> Self:
        """Return what a text such as `encoder=E,decoder=D` says.

        Raises:
            BadInput: a name is unknown, stands twice or is missing, or a number is none.

        Example:
            >>> CascadeChoices.parse("encoder=runs/e,decoder=runs/d,low=0.1").bounds
            Bounds(low=0.1, high=1.0)
        """
        given: dict[str, str] = {}
        for part in text.split(","):
            name, _, value = (word.strip() for word in part.partition("="))
            if name not in _NAMES or not value or name in given:
                raise BadInput(f"--cascade {text}: {part.strip()!r} is not understood; write {_FORM}")
            given[name] = value
        if not {ENCODER, DECODER} <= set(given):
            raise BadInput(f"--cascade {text}: an encoder and a decoder are needed; write {_FORM}")
        by_hand = {"low", "high", "places"} & set(given)
        if by_hand and ("low" not in given or "file" in given):
            raise BadInput(f"--cascade {text}: bounds are set by hand with low, or are a file's; write {_FORM}")
        bounds = None
        if by_hand:
            bounds = Bounds(_number(text, given["low"]), _number(text, given.get("high", "1")))
        places = _whole(text, given.get("places")) or PLACES
        file = None if "file" not in given else Path(given["file"])
        budget = ReadingBudget(_whole(text, given.get("pairs")), _number(text, given["ms"]) if "ms" in given else None)
        encoder_backend = given.get("encoder_backend", "transformers")
        return cls(
            given[ENCODER], given[DECODER], file, bounds, places, budget, adapter, backend, dtype, encoder_backend
        )


_NAMES = (ENCODER, DECODER, "file", "low", "high", "places", "pairs", "ms", "encoder_backend")
_FORM = "encoder=E,decoder=D and where wanted file=cascade.json, or low=0.05 with high=1 and places=5; pairs=64, ms=200"


def _number(text: str, value: str) -> float:
    try:
        return float(value)
    except ValueError as error:
        raise BadInput(f"--cascade {text}: {value!r} is no number; write {_FORM}") from error


def _whole(text: str, value: str | None) -> int | None:
    if value is not None and not value.isdecimal():
        raise BadInput(f"--cascade {text}: {value!r} is no whole number; write {_FORM}")
    return None if value is None else int(value)


class _TooLate(Exception):
    """The decoder has not answered in time."""


@dataclass(frozen=True, eq=False)
class CascadeScores:
    """What a cascade says of pairs.

    Attributes:
        reading: distributions, who gave them, and why nothing more was read.
        fault: what went wrong with the decoder; empty where nothing did.
        as_calibrated: whether it came about as the answers of which something is promised.
    """

    reading: Reading
    fault: str = ""
    as_calibrated: bool = True

    @property
    def degraded(self) -> bool:
        """Whether the decoder did not give what was asked of it."""
        return self.reading.ended in ("late", "down")

    @property
    def read_by(self) -> list[ReadBy]:
        """Who read each pair, in order."""
        return [DECODER if mark else ENCODER for mark in self.reading.by_decoder.tolist()]


@dataclass
class Cascade:
    """An encoder that reads all pairs of a query, and a decoder that reads the undecided ones.

    Attributes:
        encoder: opened.
        decoder: opened; its thresholds make the tiers of all products, since calibration has put both models' scores on
            the scale of relevance.
        card: bounds, and what is promised of them.
        budget: of each query, unless another is given; the card's number of pairs holds too.

    Example:
        >>> with Cascade.open(CascadeChoices("runs/encoder", "runs/model")) as cascade:  # doctest: +SKIP
        ...     cascade.score([Pair("oak desk", product) for product in products]).read_by
    """

    encoder: TokenScorer
    decoder: TokenScorer
    card: CascadeCard
    budget: ReadingBudget = NO_LIMIT
    _reads: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @classmethod
    def open(cls, choices: CascadeChoices) -> Cascade:
        """Open both models, and the card that was made for them.

        Raises:
            BadInput: a model is refused or not calibrated, or the card is missing, damaged or of other models.
        """
        encoder, decoder = prepared_models(
            choices.encoder,
            choices.decoder,
            backend=choices.backend,
            encoder_backend=choices.encoder_backend,
            dtype=choices.dtype,
            adapter=choices.adapter,
        )
        names = identity(encoder), identity(decoder)
        if choices.bounds is not None:
            low, high = choices.bounds.low, choices.bounds.high
            card = CascadeCard(encoder=names[0], decoder=names[1], places=choices.places, low=low, high=high)
        else:
            card = _card_of(choices, encoder.checkpoint, names)
        return cls(encoder.open(), decoder.open(), card, choices.budget)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Stop what the backends started."""
        self.encoder.close()
        self.decoder.close()

    @property
    def checkpoint(self) -> Checkpoint:
        """The decoder's, which says where tiers begin."""
        return self.decoder.checkpoint

    def score(self, pairs: Sequence[Pair], budget: ReadingBudget | None = None) -> CascadeScores:
        """Return what both say of the pairs of one query.

        Args:
            pairs: of one query; the chances to be among the best k are of all of them.
            budget: of this query; None is the usual one.
        """
        began = perf_counter()
        first = self.encoder.score(pairs)
        allowed = self.budget if budget is None else budget
        limits = [one for one in (self.card.pairs, allowed.pairs) if one is not None]
        milliseconds = allowed.milliseconds
        ends = None if milliseconds is None else began + milliseconds / 1000
        faults: list[str] = []

        def read(places: Sequence[int]) -> Distribution | Literal["late", "down"]:
            try:
                return self._in_time([pairs[place] for place in places], ends)
            except _TooLate:
                faults.append(f"the decoder had not answered after {milliseconds:g} ms")
                return "late"
            except Exception as error:  # whatever it is, the encoder has answered
                faults.append(f"the decoder failed ({first_line(error)})")
                return "down"

        spent = ReadingBudget(
            min(limits, default=None), None if ends is None else max(0.0, 1000 * (ends - perf_counter()))
        )
        reading = read_undecided(first, read, self.card.places, self.card.bounds, budget=spent, batch=self.card.batch)
        own_end = reading.ended == "settled" or (reading.ended == "pairs" and spent.pairs == self.card.pairs)
        return CascadeScores(reading, "".join(faults), own_end)

    def _in_time(self, pairs: Sequence[Pair], ends: float | None) -> Distribution:
        """Return the decoder's distributions, by a moment of `perf_counter` where there is one.

        Raises:
            _TooLate: it did not answer by then, or another search still waits for it.
        """
        if ends is None:
            with self._reads:
                return self.decoder.score(pairs)
        if not self._reads.acquire(timeout=max(0.0, ends - perf_counter())):
            raise _TooLate
        answer: Future[Distribution] = Future()

        def work() -> None:
            try:
                answer.set_result(self.decoder.score(pairs))
            except BaseException as error:  # raised again by who waits
                answer.set_exception(error)
            finally:
                self._reads.release()

        # It cannot be stopped, so nobody waits for it, at the end of the process neither.
        threading.Thread(target=work, daemon=True).start()
        if not wait([answer], timeout=max(0.0, ends - perf_counter())).done:
            raise _TooLate
        return answer.result()


def _card_of(choices: CascadeChoices, encoder: Checkpoint, names: tuple[str, str]) -> CascadeCard:
    """Return the card of a cascade.

    Raises:
        BadInput: it is missing, damaged, or of other models.
    """
    file = choices.file or encoder.folder / CASCADE
    adapter = "" if choices.adapter is None else f" --adapter {choices.adapter}"
    command = f"gen-rerank calibrate-cascade {choices.encoder} {choices.decoder} DATA{adapter}"
    if choices.file is None and not file.is_file():
        raise BadInput(
            f"{choices.encoder}: no bounds of this cascade are there; find them with {command}, "
            "or set them by hand: --cascade encoder=E,decoder=D,low=0.05"
        )
    card = CascadeCard.read_file(file)
    for which, kept, name in ((choices.encoder, card.encoder, names[0]), (choices.decoder, card.decoder, names[1])):
        if kept != name:
            raise BadInput(
                f"{file}: was made for other models than {which} is now, whose weights or calibration differ; "
                f"find the bounds anew: {command}"
            )
    return card
