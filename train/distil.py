"""Distillation: a cross-encoder with eleven bins learns what a teacher says of pairs, judged or not.

The student is an encoder as `encoder` makes it, by the same trainer; its targets are a teacher's distributions instead
of labels, or a mixture of both: KL(teacher ‖ student), and margin-MSE of the means within a query (Hofstätter et al.
2020, arXiv 2010.02666). Who teaches is `teacher`'s, what about `teaching_pairs`'.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from accelerate import PartialState
from rich.console import Console

from gen_rerank.bins import BIN_COUNT
from gen_rerank.checkpoints.card import Teaching
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.data.dataset import Dataset
from gen_rerank.errors import BadInput
from gen_rerank.prompting.prompt import Prompt
from train import defaults
from train.encoder import Encoder, EncoderLesson, EncoderRecipe
from train.encoder_trainer import EncoderConfig
from train.life import live
from train.noise import target_noise
from train.opened_run import OpenedRun
from train.progress import QUIET
from train.targets import targets_of
from train.teacher import AnyTeacher, BiEncoderTeacher, open_teacher
from train.teacher_cache import FILE, TeacherCache
from train.teaching_pairs import Candidates, TaughtRun


@dataclass
class DistilConfig(EncoderConfig):
    """Arguments of a distillation: all of an encoder's, and this one.

    Attributes:
        label_weight: w in [0, 1]; where a pair has a label the target is (1 − w) · teacher + w · label.
    """

    label_weight: float = field(default=0.0, metadata={"help": "share of the label in the target of a judged pair"})


@dataclass(frozen=True)
class TeachingPlan:
    """Who is asked, and about what beside the given pairs.

    Attributes:
        teacher: a checkpoint (folder or hub name), a sentence-transformers bi-encoder, or `minilm`.
        backend: of a checkpoint, `transformers` or `vllm`.
        candidates: what an index adds to the pairs of a data folder.
        cache: a folder for the teacher's answers, which other runs read too; None keeps them in the run's own folder,
            which goes when the run has ended.
    """

    teacher: str
    backend: str = "transformers"
    candidates: Candidates | None = None
    cache: Path | None = None


def train_distil(
    recipe: EncoderRecipe,
    plan: TeachingPlan,
    pairs: str | Path,
    out: str | Path,
    *,
    resume: bool = False,
    skip_bad_rows: bool = False,
    console: Console = QUIET,
) -> Checkpoint:
    """Train a cross-encoder on a teacher's distributions and write a checkpoint.

    Every process of `accelerate launch` calls this; the first one writes.

    Args:
        recipe: base, prompt and, in the section `distil`, arguments.
        plan: the teacher, and what it is asked about.
        pairs: a data set folder, or a file of pairs. Of a folder, the `train` split is learned from and `validation`
            is only measured.
        out: the checkpoint's folder. While training, the run's own state lies in `<out>.training`.
        resume: go on from the last whole state in `<out>.training`; what the teacher has read is not read again.
        skip_bad_rows: leave bad rows of the data out, and list them, instead of stopping.
        console: where data and plan are shown before the work.

    Raises:
        BadInput: no such teacher, one that is the base itself, no pairs, bad data or recipe, `out` is taken, nothing
            to resume, or a full disk.

    Example:
        >>> recipe = EncoderRecipe.load("minilm")
        >>> train_distil(recipe, TeachingPlan("runs/model"), "shop", "runs/student")  # doctest: +SKIP
    """
    training = Distil(recipe, plan, console)
    return live(training, pairs, out, resume=resume, skip_bad_rows=skip_bad_rows, console=console)


@dataclass(frozen=True)
class Distil(Encoder):
    """A distillation as a kind of run.

    Attributes:
        plan: the teacher, and what it is asked about.
        console: where it is said how long the teacher may take.
    """

    kind = "distil"
    config_class = DistilConfig

    plan: TeachingPlan
    console: Console

    @property
    def defaults(self) -> dict[str, Any]:
        """Those of an encoder, and a loss within the query."""
        return defaults.DISTIL

    @cached_property
    def teacher(self) -> AnyTeacher:
        """Who is asked; nothing is loaded yet."""
        return open_teacher(self.plan.teacher, self.plan.backend)

    @property
    def origin(self) -> dict[str, str]:
        """The teacher's fingerprint: another teacher is another run."""
        return {"teacher": self.teacher.fingerprint}

    def opened(self, data: str | Path, out: str | Path, console: Console, *, skip_bad_rows: bool) -> TaughtRun:
        """Find the teacher, then read the pairs."""
        folder = self.teacher.folder
        reranker = not isinstance(self.teacher, BiEncoderTeacher)
        if reranker and self.recipe.base is not None and Path(self.recipe.base).resolve() == folder.resolve():
            raise BadInput(f"{folder}: is both the teacher and the base; what it knows already it cannot learn from it")
        return TaughtRun.opened(data, out, console, self.plan.candidates, skip_bad_rows=skip_bad_rows)

    def read_by(self, run: OpenedRun) -> Dataset:
        """Return all pairs; what they are worth does not matter yet."""
        assert isinstance(run, TaughtRun)
        return run.pairs.graded([0.0] * len(run.pairs.rows))

    def lesson(self, run: OpenedRun, config: EncoderConfig, prompt: Prompt) -> EncoderLesson:
        """Ask the teacher, and mix labels into what it says."""
        assert isinstance(run, TaughtRun)
        assert isinstance(config, DistilConfig)
        console = self.console if PartialState().is_main_process else QUIET
        pairs, (places, judged) = run.pairs.texts(), run.pairs.labels()
        relevance = [row.relevance for row in judged]
        noise, fitted = target_noise(config.variance, run.train)
        cache = TeacherCache((self.plan.cache or run.folder) / FILE)
        with PartialState().main_process_first():  # the others find its answers
            if isinstance(self.teacher, BiEncoderTeacher):
                taught = self.teacher.teach(pairs, prompt, cache, console, places=places, labels=relevance, noise=noise)
            else:
                taught = self.teacher.teach(pairs, cache, console)
        if places and config.label_weight:
            labelled = targets_of(judged, config.variance, noise)
            taught = taught.mixed(places, labelled, relevance, config.label_weight)
        teaching = Teaching(
            teacher=self.teacher.name,
            fingerprint=self.teacher.fingerprint,
            how=taught.how,
            pairs=len(pairs),
            pairs_fingerprint=run.pairs.fingerprint,
            judged=len(places),
            label_weight=config.label_weight,
        )
        assert taught.targets.shape == (len(pairs), BIN_COUNT)
        return EncoderLesson(run.pairs.graded(taught.relevance.tolist()), taught.targets, noise, fitted, teaching)
