from copy import deepcopy

import pytest
import torch
from torch import nn

from gen_rerank.system.machine import Machine
from train.optim import Float32Muon, MasterWeights, MuonAdamW, hidden_matrices


class Net(nn.Module):
    """An embedding and one decoder layer, named as transformers names them."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(5, 4)
        self.model = nn.Module()
        self.model.layers = nn.ModuleList([nn.Linear(4, 4)])

    def forward(self, x):
        return self.model.layers[0](self.embed(x)).pow(2).mean()


def optimizer(net):
    return MuonAdamW(*hidden_matrices(net), muon_lr=0.1, adamw_lr=0.01)


def test_only_matrices_inside_the_layers_go_to_muon():
    matrices, others = hidden_matrices(Net())
    assert [tuple(p.shape) for p in matrices] == [(4, 4)]
    assert sorted(tuple(p.shape) for p in others) == [(4,), (5, 4)]


def test_a_schedule_moves_both_rates_from_their_own_peaks():
    chosen = optimizer(Net())
    schedule = torch.optim.lr_scheduler.LambdaLR(chosen, lambda step: 0.5)
    assert [group["lr"] for group in chosen.muon.param_groups] == [0.05]
    assert [group["lr"] for group in chosen.adamw.param_groups] == [0.005]
    assert schedule.get_last_lr() == [0.05, 0.005]


def test_a_restored_optimizer_goes_on_the_same_way():
    def steps(net, chosen, count):
        for _ in range(count):
            chosen.zero_grad()
            net(torch.arange(5)).backward()
            chosen.step()

    one = Net()
    straight = optimizer(one)
    steps(one, straight, 2)
    two = Net()
    two.load_state_dict(one.state_dict())
    restored = optimizer(two)
    restored.load_state_dict(deepcopy(straight.state_dict()))
    steps(one, straight, 2)
    steps(two, restored, 2)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def low_precision(rate, wrap):
    """Ten steps of plain gradient descent on one bfloat16 weight of 1, with a gradient of 1."""
    weight = nn.Parameter(torch.ones(1, dtype=torch.bfloat16))
    chosen = wrap(torch.optim.SGD([weight], lr=rate))
    for _ in range(10):
        weight.grad = torch.ones_like(weight)
        chosen.step()
        chosen.zero_grad()
    return weight.item()


def test_steps_below_the_rounding_of_bfloat16_add_up_in_the_float32_copy():
    # Below 1 the numbers of bfloat16 are 1/256 apart: a step of 0.001 is rounded away, ten of them are 0.99.
    assert low_precision(0.001, lambda plain: plain) == 1.0
    assert low_precision(0.001, MasterWeights) == torch.tensor(0.99).bfloat16().item() < 1.0


def test_a_restored_copy_holds_what_the_weight_does_not():
    weight = nn.Parameter(torch.ones(1, dtype=torch.bfloat16))
    chosen = MasterWeights(torch.optim.AdamW([weight], lr=1e-4))
    weight.grad = torch.ones_like(weight)
    chosen.step()
    again = MasterWeights(torch.optim.AdamW([nn.Parameter(weight.detach().clone())], lr=1e-4))
    assert again.copies[0].item() == 1.0
    again.load_state_dict(deepcopy(chosen.state_dict()))
    assert again.copies[0].item() == chosen.copies[0].item() != 1.0


def test_a_schedule_moves_the_rate_of_the_inner_optimizer():
    inner = torch.optim.AdamW([nn.Parameter(torch.ones(1, dtype=torch.bfloat16))], lr=1.0)
    torch.optim.lr_scheduler.LambdaLR(MasterWeights(inner), lambda step: 0.25)
    assert inner.param_groups[0]["lr"] == 0.25


def test_float32_steps_as_torchs_muon_does_but_for_its_rounding():
    torch.manual_seed(0)
    start, gradient = torch.randn(64, 32), torch.randn(64, 32)
    moved = []
    for kind in (torch.optim.Muon, Float32Muon):
        weight = nn.Parameter(start.clone())
        weight.grad = gradient.clone()
        kind([weight], lr=0.1, weight_decay=0.5).step()
        moved.append((weight - start).detach())
    apart = (moved[0] - moved[1]).norm() / moved[0].norm()
    assert 0 < apart < 0.02


def test_float32_goes_on_from_the_state_of_torchs_muon():
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(8, 8))
    weight.grad = torch.randn(8, 8)
    torchs, ours = torch.optim.Muon([weight]), Float32Muon([weight])
    torchs.step()
    ours.load_state_dict(torchs.state_dict())
    assert torch.equal(ours.state[weight]["momentum_buffer"], torchs.state[weight]["momentum_buffer"])


@pytest.mark.parametrize(("native", "kind"), [(True, torch.optim.Muon), (False, Float32Muon)])
def test_torchs_muon_is_taken_where_bfloat16_is_fast(monkeypatch, native, kind):
    monkeypatch.setattr(Machine, "computes_bfloat16", native)
    assert type(optimizer(Net()).muon) is kind
