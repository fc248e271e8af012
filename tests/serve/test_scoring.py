"""Scoring a question: what is counted while it is worked on, what is kept, and what is told of the wait."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from gen_rerank import Pair, Product
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.prompting.prompt import Prompt
from gen_rerank.prompting.tokens import PlainText
from serve.admission import Admission
from serve.models import ServedModels
from serve.question import Blank, Question, Refusal, RenderedPrompt
from serve.scoring import OnlineScorer, Progress, ScoreCache

pytest.importorskip("vllm")


class Parts:
    """A scorer on an engine, with what it was made of."""

    def __init__(self, engine: Any, folder: Path) -> None:
        self.engine = engine
        self.prompt = Checkpoint.open(folder).prompt
        models = ServedModels(engine, Checkpoint.open(folder), "tiny", folder=None, places=1, largest_rank=8)
        self.admission = Admission(max_pairs=100, window=1)
        self.cache = ScoreCache(100)
        self.scorer = OnlineScorer(engine, models, self.admission, self.cache)


@pytest.fixture
def parts(engine: Any, tiny_checkpoint: Path) -> Parts:
    return Parts(engine, tiny_checkpoint)


def pair(title: str, query: str = "desk") -> Pair:
    return Pair(query, Product(product_id="1", title=title))


def test_a_place_is_kept_until_the_thread_has_ended(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    began, end = threading.Event(), threading.Event()
    prepare = Prompt.prepare

    def slowly(*arguments: Any, **options: Any) -> Any:
        began.set()
        assert end.wait(10)
        return prepare(*arguments, **options)

    monkeypatch.setattr(Prompt, "prepare", slowly)

    async def play() -> None:
        task = asyncio.create_task(parts.scorer.answer(Question([pair("red desk")])))
        await asyncio.to_thread(began.wait)
        for _ in range(2):  # a deadline, and then the client hangs up
            task.cancel()
            assert not await parts.admission.idle(0.01)
        end.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await parts.admission.idle(0)
        assert parts.engine.prompts == []

    asyncio.run(play())


def test_the_wait_is_told_of_a_request_that_waited_in_vain_too(parts: Parts) -> None:
    async def play() -> None:
        first, second, third = Progress(), Progress(), Progress()
        parts.engine.going.clear()
        running = asyncio.create_task(parts.scorer.answer(Question([pair("red desk")]), first))
        while not parts.engine.prompts:
            await asyncio.sleep(0.01)
        waiting = asyncio.create_task(parts.scorer.answer(Question([pair("blue sofa")]), third))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await parts.scorer.answer(Question([pair("oak lamp")]), second)
        parts.engine.going.set()
        await asyncio.gather(running, waiting)
        assert first.queue_seconds < 0.05
        assert 0.1 < second.queue_seconds < 0.5
        assert 0.1 < third.queue_seconds < 1

    asyncio.run(play())


def test_logits_that_are_no_numbers_are_refused_and_not_kept(parts: Parts) -> None:
    (good,), (bad,) = (parts.prompt.encode([pair(title)]) for title in ("red desk", "blue sofa"))
    question = Question([pair("red desk"), pair("blue sofa")])

    async def play() -> None:
        parts.engine.slope = lambda ids: float("nan") if ids == bad else 0.0
        with pytest.raises(Refusal, match="not a number") as refused:
            await parts.scorer.answer(question)
        assert refused.value.status == 500
        assert [ScoreCache.key("base", ids) in parts.cache for ids in (good, bad)] == [True, False]
        parts.engine.slope = lambda ids: 0.0
        answer = await parts.scorer.answer(question)
        assert answer.scored.mean.tolist() == pytest.approx([0.5, 0.5])  # eleven equal logits
        assert answer.cached == 1

    asyncio.run(play())


def test_rendered_prompts_are_tokenized_in_one_call_and_stay_in_order(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = [pair("red desk"), pair("a much longer blue sofa"), pair("lamp"), pair("green boots for every day")]
    wanted = [len(ids) for ids in parts.prompt.encode(pairs)]
    items = [RenderedPrompt(parts.prompt.render(each)) if i != 1 else each for i, each in enumerate(pairs)]
    calls: list[int] = []
    token_ids = PlainText.token_ids

    def counting(self: PlainText, texts: Any) -> list[list[int]]:
        calls.append(len(texts))
        return token_ids(self, texts)

    monkeypatch.setattr(PlainText, "token_ids", counting)
    answer = asyncio.run(parts.scorer.answer(Question(items)))
    assert [len(ids) for ids in parts.engine.prompts] == wanted
    assert answer.tokens == sum(wanted)
    assert len(calls) == 2  # the pair's, and all prompts'


def test_a_document_without_text_is_not_scored(parts: Parts) -> None:
    (ids,) = parts.prompt.encode([pair("red desk")])
    answer = asyncio.run(parts.scorer.answer(Question([Blank(), pair("red desk"), Blank()])))
    assert parts.engine.prompts == [ids]
    assert answer.scored.probabilities[[0, 2], 0].tolist() == [1.0, 1.0]
    alone = asyncio.run(parts.scorer.answer(Question([pair("red desk")])))
    assert answer.scored.mean[1] == alone.scored.mean[0]  # to the last bit
    assert (answer.blanks, answer.tokens, answer.cut) == ({0, 2}, len(ids), 0)


def test_blanks_alone_are_answered_without_the_engine(parts: Parts) -> None:
    answer = asyncio.run(parts.scorer.answer(Question([Blank(), Blank()])))
    assert answer.scored.mean.tolist() == [0.0, 0.0]
    assert parts.engine.prompts == []


def test_what_is_refused_for_its_length_is_named_by_its_place_in_the_request(parts: Parts) -> None:
    long = pair("desk " * 1000)
    with pytest.raises(Refusal, match="document 2 does not fit"):
        asyncio.run(parts.scorer.answer(Question([Blank(), pair("red desk"), long], refuse_cut=True)))
