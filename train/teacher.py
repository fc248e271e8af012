"""Teachers: a reranker, or a bi-encoder, says how relevant products are, and a student learns to say the same.

A reranker's distributions are taken as they are. A bi-encoder has a cosine only: a monotone map makes a relevance of
it, so that the ranking stays the bi-encoder's own, and the target around that relevance is `targets`'. Whatever is read
is read once: `teacher_cache` keeps the answers.
"""

from __future__ import annotations

import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from rich.console import Console
from scipy.optimize import isotonic_regression

from gen_rerank.bins import Distribution, Floats
from gen_rerank.checkpoints.card import CARD
from gen_rerank.checkpoints.folders import resolve_folder
from gen_rerank.checkpoints.public_names import yes_no_prompt
from gen_rerank.data.records import Pair
from gen_rerank.errors import BadInput
from gen_rerank.prompting.prompt import Prompt
from gen_rerank.reporting.numbers import duration
from gen_rerank.reporting.progress import WorkProgress
from gen_rerank.scorers.opening import PreparedScorer, prepare_scorer
from gen_rerank.search.vectors import TextEncoder
from train.encoder_bases import MINILM, minilm_folder
from train.targets import Noise, gaussian
from train.teacher_cache import TeacherCache, content_key

Doubles = npt.NDArray[np.float64]

_FIRST_PART, _LARGEST_PART = 64, 2048
_PART_SECONDS = 15.0  # a kill loses no more of the teacher's work
_MODULES = "modules.json"  # sentence-transformers' list of what a model is made of
_FEWEST_LABELS = 50

# Items that were read become rows of numbers.
Reader = Callable[[Sequence[Any]], Floats]


@dataclass(frozen=True, eq=False)
class Lessons:
    """What a teacher says of pairs.

    Attributes:
        targets: `[n, 11]` float32, rows sum to 1.
        relevance: `[n]` in [0, 1]; pairs of a query are in the teacher's own order.
        how: how an answer became a distribution, in words.
    """

    targets: Floats
    relevance: Doubles
    how: str

    def mixed(self, places: Sequence[int], targets: Floats, relevance: Sequence[float], weight: float) -> Lessons:
        """Return the same with labels mixed in: (1 − w) · teacher + w · label, where there is a label.

        Args:
            places: of the judged pairs.
            targets: of their labels, `[judged, 11]`.
            relevance: of their labels, `[judged]`.
            weight: w in [0, 1].

        Example:
            >>> taught = Lessons(np.eye(11, dtype=np.float32)[[0, 10]], np.array([0.0, 1.0]), "as it is")
            >>> taught.mixed([1], np.eye(11, dtype=np.float32)[[5]], [0.5], 0.5).relevance.tolist()
            [0.0, 0.75]
        """
        rows, means = self.targets.copy(), self.relevance.copy()
        rows[places] = (1 - weight) * rows[places] + weight * targets
        means[places] = (1 - weight) * means[places] + weight * np.asarray(relevance, dtype=np.float64)
        return Lessons(rows, means, self.how)


class Teacher(ABC):
    """A model that a student learns from.

    Attributes:
        name: as it was given.
        reads: what it reads one by one, for people.
    """

    name: str
    reads: ClassVar[str]

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """A hash, 16 hexadecimal digits, of all that its answers depend on but for the pair."""

    @property
    @abstractmethod
    def folder(self) -> Path:
        """Where its files lie."""

    @abstractmethod
    def opened(self) -> Any:
        """Load its weights, in a `with` statement that gives a `Reader`."""

    def answers(self, items: Sequence[Any], contents: Sequence[bytes], cache: TeacherCache, console: Console) -> Floats:
        """Return the rows `[n, k]` of n items; those that the cache lacks are read, each content once.

        Args:
            items: what the reader takes.
            contents: what an item's row depends on.
            cache: is asked first, and keeps each part as soon as it is read.
            console: where it is said, before the work, how much there is and how long it may take.
        """
        keys = [content_key(self.fingerprint, content) for content in contents]
        missing = cache.missing(keys)
        waiting = {key: item for key, item in zip(keys, items, strict=True) if key in missing}
        known = len(set(keys)) - len(waiting)
        weights = sum(file.stat().st_size for file in self.folder.glob("*.safetensors")) / 2**20
        work = f"reads {len(waiting):,} {self.reads}; {known:,} were read before"
        console.print(f"{self.name} ({weights:,.0f} MiB of weights) {work}")
        if waiting:
            with self.opened() as read:
                self._read(waiting, read, cache, console)
        return cache.rows(keys)

    def _read(self, waiting: dict[bytes, Any], read: Reader, cache: TeacherCache, console: Console) -> None:
        keys = list(waiting)
        first, size = 0, _FIRST_PART
        with WorkProgress() as progress:
            task = progress.add_task(f"{self.name} reads", total=len(keys))
            while first < len(keys):
                part, began = keys[first : first + size], time.perf_counter()
                cache.add(part, read([waiting[key] for key in part]))
                first += len(part)
                progress.advance(task, len(part))
                speed = len(part) / (time.perf_counter() - began)
                if first == _FIRST_PART < len(keys):
                    left = duration((len(keys) - first) / speed)
                    console.print(f"about {left} more, at {speed:,.1f} {self.reads} a second")
                size = int(np.clip(speed * _PART_SECONDS, 1, _LARGEST_PART))


@dataclass(frozen=True)
class RerankerTeacher(Teacher):
    """A checkpoint, decoder or encoder; its distributions are the lesson.

    Attributes:
        name: as it was given.
        prepared: the checkpoint with the backend that reads it.
    """

    reads = "pairs"

    name: str
    prepared: PreparedScorer

    @property
    def fingerprint(self) -> str:
        """That of the checkpoint, and its calibration."""
        checkpoint = self.prepared.checkpoint
        calibration = checkpoint.card.calibration
        score_map = "" if calibration.score_map is None else calibration.score_map.model_dump_json()
        digest = hashlib.sha256(f"{checkpoint.fingerprint}{calibration.temperature}{score_map}".encode())
        return digest.hexdigest()[:16]

    @property
    def folder(self) -> Path:
        """The checkpoint's."""
        return self.prepared.checkpoint.folder

    @contextmanager
    def opened(self) -> Iterator[Reader]:
        """Load the weights with the backend."""
        with self.prepared.open() as scorer:
            yield lambda encoded: scorer.score_tokens(list(encoded)).probabilities

    def teach(self, pairs: Sequence[Pair], cache: TeacherCache, console: Console) -> Lessons:
        """Return the distributions of pairs."""
        encoded = self.prepared.checkpoint.prompt.encode(pairs)
        contents = [np.array(ids, dtype="<i4").tobytes() for ids in encoded]
        found = Distribution(self.answers(encoded, contents, cache, console))
        return Lessons(found.probabilities, found.mean.astype(np.float64), "its distributions")


@dataclass(frozen=True)
class BiEncoderTeacher(Teacher):
    """A sentence-transformers model that embeds queries and products by themselves; its cosine is the lesson.

    Attributes:
        name: as it was given.
        place: its folder.
    """

    reads = "texts"

    name: str
    place: Path

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all its files that are weights, tokens or settings."""
        digest = hashlib.sha256()
        for file in sorted(self.place.rglob("*")):
            if file.is_file() and file.suffix in (".safetensors", ".bin", ".json", ".txt", ".model"):
                with file.open("rb") as stream:
                    content = hashlib.file_digest(stream, "sha256").hexdigest()
                digest.update(f"{file.relative_to(self.place)}:{content}\n".encode())
        return digest.hexdigest()[:16]

    @property
    def folder(self) -> Path:
        """The model's."""
        return self.place

    @contextmanager
    def opened(self) -> Iterator[Reader]:
        """Load the weights."""
        encoder = TextEncoder(str(self.place))
        encoder.encode(["loads the weights"])
        yield lambda texts: encoder.encode(list(texts))

    def cosines(self, pairs: Sequence[Pair], prompt: Prompt, cache: TeacherCache, console: Console) -> Doubles:
        """Return the cosine of each pair, `[n]` in [−1, 1]; it embeds the two texts that the student reads as one.

        Args:
            pairs: queries with products.
            prompt: the student's; it says which fields of a product are read and where they are cut.
            cache: keeps the embeddings.
            console: where it is said how much there is to read.
        """
        sides = prompt.segments(pairs)
        texts = list(dict.fromkeys(text for pair in sides for text in pair))
        vectors = self.answers(texts, [text.encode() for text in texts], cache, console).astype(np.float64)
        place = {text: i for i, text in enumerate(texts)}
        queries, products = (vectors[[place[text] for text in side]] for side in zip(*sides, strict=True))
        found: Doubles = (queries * products).sum(axis=1)
        return found

    def teach(
        self,
        pairs: Sequence[Pair],
        prompt: Prompt,
        cache: TeacherCache,
        console: Console,
        *,
        places: Sequence[int],
        labels: Sequence[float],
        noise: Noise | None,
    ) -> Lessons:
        """Return the Gaussian targets around the relevance that a monotone map makes of the cosine.

        Args:
            pairs: queries with products.
            prompt: the student's.
            cache: keeps the embeddings.
            console: where it is said how much there is to read.
            places: of the judged pairs.
            labels: their relevance.
            noise: the width of the targets; None takes the published one.
        """
        cosines = self.cosines(pairs, prompt, cache, console)
        given = np.asarray(labels, dtype=np.float64)
        if len(given) >= _FEWEST_LABELS and np.ptp(given) > 0:
            relevance, how = isotonic_relevance(cosines, cosines[list(places)], given), "isotonic regression on labels"
        else:
            relevance, how = linear_relevance(cosines), "linear from the lowest cosine to the highest"
        return Lessons(gaussian(relevance, noise), relevance, how)


AnyTeacher = RerankerTeacher | BiEncoderTeacher


def open_teacher(name: str, backend: str = "transformers") -> AnyTeacher:
    """Return the teacher of this name; its weights are loaded when something is to be read.

    Args:
        name: a folder or a hub name of a checkpoint or a sentence-transformers model, or `minilm`.
        backend: of a checkpoint, `transformers` or `vllm`.

    Raises:
        BadInput: there is no such model, or it is neither.

    Example:
        >>> open_teacher("minilm").reads  # doctest: +SKIP
        'texts'
    """
    folder = minilm_folder() if name == MINILM else resolve_folder(name)
    if (folder / CARD).is_file() or yes_no_prompt(name) is not None:
        return RerankerTeacher(name, prepare_scorer(name, backend))
    if (folder / _MODULES).is_file():
        return BiEncoderTeacher(name, folder)
    raise BadInput(
        f"{name}: no teacher: it has neither {CARD}, as our rerankers have, nor {_MODULES}, as bi-encoders of "
        "sentence-transformers have"
    )


def isotonic_relevance(cosines: Doubles, known: Doubles, labels: Doubles) -> Doubles:
    """Return a relevance `[n]` in [0, 1] that grows with the cosine everywhere, as labels say how steeply.

    Isotonic regression (Barlow et al. 1972, "Statistical inference under order restrictions") of labels on cosines is
    flat within its blocks; here straight lines join the blocks' means, and lead out to (−1, 0) and (1, 1), so that two
    products with different cosines tie only where the labels leave nothing between them and 0 or 1.

    Args:
        cosines: `[n]` in [−1, 1].
        known: cosines of the judged pairs, `[m]`.
        labels: their relevance, `[m]` in [0, 1].

    Example:
        >>> isotonic_relevance(np.array([0.3, 0.5]), np.array([0.2, 0.4, 0.6]), np.array([0.0, 0.4, 1.0])).round(2)
        array([0.2, 0.7])
    """
    order = np.argsort(known, kind="stable")
    fitted = isotonic_regression(labels[order])
    bounds = fitted.blocks
    centres = np.add.reduceat(known[order], bounds[:-1]) / np.diff(bounds)
    heights = fitted.x[bounds[:-1]]
    return np.interp(cosines, [-1.0, *centres, 1.0], [0.0, *heights, 1.0])


def linear_relevance(cosines: Doubles) -> Doubles:
    """Return a relevance `[n]`: 0 at the lowest cosine, 1 at the highest, straight between.

    Its level means nothing, as nobody has judged anything; the order is the teacher's.

    Example:
        >>> linear_relevance(np.array([0.2, 0.5, 0.8])).round(2).tolist()
        [0.0, 0.5, 1.0]
    """
    low, high = float(cosines.min()), float(cosines.max())
    return np.clip((cosines - low) / max(high - low, 1e-9), 0.0, 1.0)
