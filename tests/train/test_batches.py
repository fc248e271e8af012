"""Batches by a token budget, on numbers that can be checked by hand, and their promises as properties."""

from collections import Counter

import pytest
import torch
from accelerate.data_loader import BatchSamplerShard, SkipBatchSampler
from hypothesis import given
from hypothesis import strategies as st
from transformers import TrainerControl, TrainerState, TrainingArguments

from train.batches import EpochOrder, TokenBudgetSampler

LENGTHS = st.lists(st.integers(1, 300), min_size=1, max_size=60)


def test_rows_of_like_length_share_a_batch():
    # Padded to multiples of 8: 8, 16, 8, 24, 16. Longest first, at most 32 tokens: [24], [16, 16], [8, 8].
    sampler = TokenBudgetSampler([8, 15, 7, 20, 16], batch_tokens=32, shuffle=False)
    assert list(sampler) == [[3], [1, 4], [0, 2]]
    # 72 positions hold 66 tokens.
    assert round(sampler.padding, 6) == round(1 - 66 / 72, 6)


def test_a_row_over_the_budget_is_a_batch_of_its_own():
    assert list(TokenBudgetSampler([100, 8], batch_tokens=16, shuffle=False)) == [[0], [1]]


def test_a_step_that_lacks_batches_takes_the_first_ones_again():
    sampler = TokenBudgetSampler([8, 8, 8], batch_tokens=8, accumulation=2)
    batches = list(sampler)
    assert len(batches) == len(sampler) == 4
    assert batches[3] == batches[0]


@given(LENGTHS, st.integers(8, 600), st.integers(0, 5))
def test_every_row_comes_once_an_epoch_and_no_batch_is_over_budget(lengths, budget, epoch):
    sampler = TokenBudgetSampler(lengths, budget)
    sampler.set_epoch(epoch)
    batches = list(sampler)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    assert len(batches) == len(sampler)
    for batch in batches:
        tokens = max(-(-lengths[i] // 8) * 8 for i in batch) * len(batch)
        assert tokens <= budget or len(batch) == 1


@given(LENGTHS, st.integers(8, 600), st.integers(1, 4), st.integers(0, 3))
def test_processes_share_what_one_process_accumulates(lengths, budget, processes, epoch):
    """A step of n processes reads the rows of a step of one process with n batches accumulated."""

    def plan(**how: int) -> list[list[int]]:
        sampler = TokenBudgetSampler(lengths, budget, **how)
        sampler.set_epoch(epoch)
        return list(sampler)

    alone = plan(accumulation=processes)
    shared = [plan(processes=processes, rank=rank) for rank in range(processes)]
    assert len({len(batches) for batches in shared}) == 1
    assert alone == [batch for step in zip(*shared, strict=True) for batch in step]


def test_epochs_differ_and_come_again():
    sampler = TokenBudgetSampler([8] * 50, batch_tokens=40)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    assert first != second
    sampler.set_epoch(0)
    assert list(sampler) == first


def test_a_run_resumed_in_a_later_epoch_reads_that_epochs_order(tmp_path):
    """As the libraries wrap the sampler when several processes resume: neither wrapper passes the epoch on."""
    sampler = TokenBudgetSampler([8] * 50, batch_tokens=40, processes=2)
    wrapped = SkipBatchSampler(BatchSamplerShard(sampler, num_processes=1, process_index=0), skip_batches=2)
    state = TrainerState(epoch=1.4)
    EpochOrder(sampler).on_epoch_begin(TrainingArguments(str(tmp_path), use_cpu=True), state, TrainerControl())
    expected = TokenBudgetSampler([8] * 50, batch_tokens=40, processes=2)
    expected.set_epoch(1)
    assert list(wrapped) == list(expected)[2:]


# Rows that must meet

GROUPED = st.lists(st.tuples(st.integers(1, 300), st.integers(0, 12)), min_size=1, max_size=60)


def test_groups_of_like_shape_share_a_batch():
    # Rows padded to 8 tokens. Group 0: two of 16 (32 tokens), 1: one of 16, 2: three of 8 (24), 3: one of 8.
    sampler = TokenBudgetSampler([16, 16, 16, 8, 8, 8, 8], batch_tokens=48, groups=[0, 1, 0, 2, 2, 2, 3], shuffle=False)
    assert list(sampler) == [[0, 2, 1], [3, 4, 5, 6]]


def test_a_group_over_the_budget_is_cut_evenly():
    # Five rows of 8 tokens, three of which fit: three and two, not four and one.
    sampler = TokenBudgetSampler([8] * 5, batch_tokens=24, groups=[0] * 5)
    assert sorted(map(len, sampler)) == [2, 3]


@given(GROUPED, st.integers(8, 1200), st.integers(0, 5))
def test_a_batch_holds_whole_groups(rows, budget, epoch):
    lengths, groups = map(list, zip(*rows, strict=True))
    sampler = TokenBudgetSampler(lengths, budget, groups=groups)
    count = len(sampler)
    sampler.set_epoch(epoch)
    batches = list(sampler)
    assert len(batches) == len(sampler) == count
    assert sorted(i for batch in batches for i in batch) == list(range(len(rows)))
    widths = [-(-length // 8) * 8 for length in lengths]
    for batch in batches:
        assert max(widths[i] for i in batch) * len(batch) <= budget or len(batch) == 1
    for group in set(groups):
        members = [i for i, one in enumerate(groups) if one == group]
        parts = [part for part in (sum(i in members for i in batch) for batch in batches) if part]
        if max(widths[i] for i in members) * len(members) <= budget:
            assert parts == [len(members)]
        assert max(parts) - min(parts) <= 1


@given(GROUPED, st.integers(8, 1200), st.integers(1, 4))
def test_processes_share_whole_groups_as_they_share_rows(rows, budget, processes):
    lengths, groups = map(list, zip(*rows, strict=True))
    alone = list(TokenBudgetSampler(lengths, budget, groups=groups, accumulation=processes))
    shared = [
        list(TokenBudgetSampler(lengths, budget, groups=groups, processes=processes, rank=rank))
        for rank in range(processes)
    ]
    assert alone == [batch for step in zip(*shared, strict=True) for batch in step]


def test_groups_of_one_shape_change_their_company():
    lengths, groups = [8] * 60, [i // 2 for i in range(60)]
    sampler = TokenBudgetSampler(lengths, 64, groups=groups)

    def companies() -> Counter:
        return Counter(frozenset(groups[i] for i in batch) for batch in sampler)

    first = companies()
    sampler.set_epoch(1)
    assert companies() != first


@given(LENGTHS, st.integers(8, 600), st.integers(0, 3), st.booleans())
def test_without_groups_the_plan_is_what_it_always_was(lengths, budget, epoch, shuffle):
    """By the rule in the module's first lines, written out: runs that were begun before there were groups go on."""
    sampler = TokenBudgetSampler(lengths, budget, shuffle=shuffle)
    sampler.set_epoch(epoch)
    padded = torch.tensor([-(-length // 8) * 8 for length in lengths])
    generator = torch.Generator().manual_seed(epoch)
    order = torch.randperm(len(padded), generator=generator) if shuffle else torch.arange(len(padded))
    order = order[torch.argsort(padded[order], stable=True, descending=True)]
    batches: list[list[int]] = []
    for i in order.tolist():
        if batches and int(padded[batches[-1][0]]) * (len(batches[-1]) + 1) <= budget:
            batches[-1].append(i)
        else:
            batches.append([i])
    if shuffle:
        batches = [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]
    assert list(sampler) == batches
    read = sum(int(padded[batch].max()) * len(batch) for batch in batches)
    assert sampler.padding == pytest.approx(1 - sum(lengths) / read)
