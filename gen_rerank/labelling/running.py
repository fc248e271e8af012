"""The run: every pair is shown to every judge, several at a time, and each answer is in the journal before it counts.

Pairs are begun in order, and a pair is asked of all judges together, so that an early end leaves whole pairs. Nothing
that the journal has is asked again; an answer that could not be read is asked once more, then left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gen_rerank.labelling.asking import AskedJudge
from gen_rerank.labelling.budget import Spending
from gen_rerank.labelling.journal import Journal, JournalRow, JudgeAnswer, JudgedPair
from gen_rerank.labelling.judges import Judge
from gen_rerank.reporting.numbers import counted
from gen_rerank.reporting.progress import WorkProgress

ATTEMPTS = 2


@dataclass(frozen=True)
class Waiting:
    """A pair that a judge has not answered for good, and how often it was asked."""

    judged: JudgedPair
    attempt: int


def waiting_pairs(pairs: Iterable[JudgedPair], before: Iterable[JournalRow]) -> list[Waiting]:
    """Return the pairs that one judge is still asked about.

    Args:
        pairs: all that it should judge.
        before: what it has answered.
    """
    asked: dict[str, int] = {}
    done: set[str] = set()
    for row in before:
        asked[row.pair] = max(asked.get(row.pair, 0), row.attempt + 1)
        if row.answer.relevance is not None or row.attempt + 1 >= ATTEMPTS:
            done.add(row.pair)
    # Two pairs with the same texts are asked about once.
    first = {one.key: one for one in pairs if one.key not in done}
    return [Waiting(one, asked.get(key, 0)) for key, one in first.items()]


def run_judges(waiting: Mapping[Judge, Sequence[Waiting]], journal: Journal, spending: Spending) -> None:
    """Ask each judge about the pairs that wait for it, and write the answers down.

    Args:
        waiting: in the order in which they are asked.
        journal: that keeps the answers.
        spending: ends the run when its budget is spent; what is under way is still waited for.

    Raises:
        BadInput: a server does not do its part, or the journal cannot be written.
    """
    if any(waiting.values()):
        asyncio.run(_Run(waiting, journal, spending).all())


class _Run:
    """One run over the pairs."""

    def __init__(self, waiting: Mapping[Judge, Sequence[Waiting]], journal: Journal, spending: Spending) -> None:
        self._judges = {judge: AskedJudge(judge) for judge in waiting}
        self._free = {judge: asyncio.Semaphore(judge.concurrency) for judge in waiting}
        self._journal = journal
        self._spending = spending
        self._left_out = 0
        # By pair: who is asked. The order is that of the longest list, which all lists follow.
        self._pairs: dict[str, list[tuple[Judge, Waiting]]] = {}
        for judge, pairs in sorted(waiting.items(), key=lambda item: -len(item[1])):
            for one in pairs:
                self._pairs.setdefault(one.judged.key, []).append((judge, one))

    async def all(self) -> None:
        """Ask everything, unless the budget ends it before."""
        # A pair too many waits at each judge, so that none is idle; and no more than that is begun.
        begun = asyncio.Semaphore(2 * max(judge.concurrency for judge in self._judges))
        total = sum(map(len, self._pairs.values()))
        try:
            with WorkProgress() as progress:
                task = progress.add_task("judging", total=total)

                async def pair(asked: Sequence[tuple[Judge, Waiting]]) -> None:
                    try:
                        async with asyncio.TaskGroup() as group:
                            for judge, one in asked:
                                group.create_task(judged(judge, one))
                    finally:
                        begun.release()

                async def judged(judge: Judge, one: Waiting) -> None:
                    await self._judge(judge, one)
                    progress.update(task, advance=1, description=self._description)

                async with asyncio.TaskGroup() as group:
                    for asked in self._pairs.values():
                        await begun.acquire()
                        if self._spending.is_over:
                            break
                        group.create_task(pair(asked))
        finally:
            for asked_judge in self._judges.values():
                await asked_judge.close()

    @property
    def _description(self) -> str:
        return "judging" + (f", {counted(self._left_out, 'pair')} left out" if self._left_out else "")

    async def _judge(self, judge: Judge, one: Waiting) -> None:
        """Ask one judge about one pair, again where the answer cannot be read."""
        for attempt in range(one.attempt, ATTEMPTS):
            async with self._free[judge]:
                answer: JudgeAnswer = await self._judges[judge].ask(one.judged.pair, attempt)
                self._journal.keep(judge, one.judged, attempt, answer)
            self._spending.count(judge, answer)
            if answer.relevance is not None:
                return
        self._left_out += 1
