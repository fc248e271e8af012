"""The turns of the serving benchmark: their order, what is kept, that they are isolated; targets and profiles."""

from __future__ import annotations

import pytest

from gen_rerank import BadInput
from gen_rerank.system.steps import Steps
from harness.this_run import ThisRun
from harness.traffic import Settings
from serving import ways_of
from serving_parts.profile import REST, self_seconds, shares
from serving_parts.report import ServingReport
from serving_parts.turns import (
    COLD,
    GENERATE,
    HTTP,
    TRANSFORMERS,
    WARM,
    Done,
    TimedRow,
    Turn,
    Turns,
    best_peer_again,
    in_a_process,
)

SETTINGS = Settings("nano")
SMALL = Settings("nano", candidates=5, product_tokens=20, query_tokens=4)


def row(name: str, seconds: float, visit: int = 1, clients: int = 1):
    return TimedRow(name, visit, 64, clients, (seconds,) * 2, 2 * seconds, 1e12, "batch 8")


def test_the_best_peer_and_ours_are_visited_again():
    found = [
        Done(Turn("transformers"), [row(TRANSFORMERS, 10.0)]),
        Done(Turn("generate"), [row(GENERATE, 11.0)]),
    ]
    ways = ("ours", "transformers", "generate")
    assert best_peer_again(found, ways) == Turn("transformers", 2, (8,))
    assert best_peer_again([], ways) is None


def test_targets_are_ratios_of_both_visits():
    rows = [
        row(COLD, 8.0), row(TRANSFORMERS, 10.0), row(WARM, 1.0), row(HTTP, 10.0), row(COLD, 8.0, 2),
    ]  # fmt: skip
    done = [
        Done(Turn("peak"), matmul={"1024": 4e11}),
        *(Done(Turn("ours"), [each]) for each in rows),
    ]
    targets = {
        target.name: (target.value, target.met) for target in ServingReport(SETTINGS, done, ThisRun.now()).targets()
    }
    assert targets["cold, times the best peer"] == (pytest.approx(1.25), True)
    # A request of 1e12 operations in 8 seconds.
    assert targets["cold, share of the bf16 peak"] == (pytest.approx(1e12 / 8 / 4e11), False)
    assert targets["warm, times the best peer"] == (pytest.approx(10.0), True)
    assert targets["pairs/s lost over HTTP"] == (pytest.approx(0.2), False)
    assert "int8 cold, times our cold" not in targets


def test_with_several_clients_the_wall_counts():
    measured = TimedRow("x", 1, 64, 2, (10.0, 10.0, 10.0, 10.0), 20.0, 0.0)
    assert measured.pairs_per_second == 64 * 4 / 20


def turns_of(tmp_path, settings: Settings = SETTINGS) -> Turns:
    return Turns(["ours", "int8"], settings, tmp_path, 300, Steps(tmp_path / "x" / "a.steps.json"))


def test_finished_turns_are_kept_and_failed_ones_done_again(tmp_path, monkeypatch):
    asked = []

    def play(turn: Turn, *_: object) -> Done:
        asked.append(turn.name)
        if turn.way == "int8" and asked.count(turn.name) == 1:
            return Done(turn, failed="no memory")
        return Done(turn, [row(COLD, 8.0, turn.visit)], {"1024": 1.0})

    monkeypatch.setattr("serving_parts.turns.in_a_process", play)
    turns = turns_of(tmp_path)
    assert turns.done() == []
    first = list(turns.rest())
    assert [each.turn.name for each in first] == ["ours-1", "int8-1", "ours-2"]
    assert turns.done() == [first[0], first[2]]
    (again,) = turns.rest()
    assert again.turn.name == "int8-1"
    assert turns.done() == [first[0], first[2], again]
    assert list(turns.rest()) == []
    with pytest.raises(BadInput, match="other settings"):
        turns_of(tmp_path, SMALL).done()
    turns.start_anew()
    assert turns.done() == []


@pytest.mark.slow
def test_turns_are_isolated(tmp_path):
    turn = Turn("transformers", batch_sizes=(2,))
    done = in_a_process(turn, Settings("nano", 4, requests=2), tmp_path, limit=300)
    assert not done.failed
    (measured,) = done.rows
    assert (measured.row, measured.note, len(measured.latencies)) == (TRANSFORMERS, "batch 2", 2)
    assert "took more than 0 seconds" in in_a_process(turn, SETTINGS, tmp_path, limit=0.01).failed
    (tmp_path / "nano-product_first" / "config.json").write_text("{")
    failed = in_a_process(turn, SETTINGS, tmp_path, limit=300).failed
    assert "not valid JSON" in failed
    assert "Traceback" in (tmp_path / "transformers-1.log").read_text()


def test_the_ways_that_are_asked_for():
    assert ways_of("ours, peak", profile=False) == ["ours", "peak"]
    assert "profile" not in ways_of("*", profile=False)
    assert ways_of("*", profile=True)[-1] == "profile"
    with pytest.raises(BadInput, match="choose some of"):
        ways_of("ours,theirs", profile=False)


def test_a_profile_by_hand():
    def event(name: str, start: float, seconds: float, tid: int = 1) -> dict:
        return {"ph": "X", "cat": "cpu_op", "tid": tid, "ts": start * 1e6, "dur": seconds * 1e6, "name": name}

    events = [
        event("execute_context", 0, 10), event("## Call CompiledFxGraph x ##", 1, 8), event("_C::onednn_mm", 2, 4),
        event("aten::mm", 3, 1), event("_C::cpu_attention_with_kv_cache", 6, 2), event("aten::copy_", 9.5, 0.25),
        event("_C::onednn_mm", 0, 1, tid=2),
        {"ph": "M", "name": "process_name"},
    ]  # fmt: skip
    seconds = self_seconds(events)
    assert seconds["_C::onednn_mm"] == pytest.approx(3 + 1)
    assert seconds["execute_context"] == pytest.approx(10 - 8 - 0.25)
    parts = shares(seconds, wall=20.0)
    assert sum(parts.values()) == pytest.approx(1.0)
    assert parts["matrix products"] == pytest.approx(5 / 20)
    assert parts["attention"] == pytest.approx(2 / 20)
    assert parts["norms, activations, positions"] == pytest.approx(2 / 20)
    assert parts[REST] == pytest.approx(2 / 20)
