from copy import deepcopy

import pytest
import torch
from torch import nn

from gen_rerank.system.machine import Machine
from train.optim import Float32Muon, MasterWeights, MuonAdamW, hidden_matrices, orthogonalized


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


@pytest.mark.parametrize("shape", [(24, 8), (8, 24), (16, 16)])
def test_muon_in_float32_goes_where_torchs_own_goes(shape):
    """Four steps with momentum and decay; torch's multiplies in bfloat16, whose rounding is all that may differ."""
    weights = [nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(0))) for _ in range(2)]
    ours = Float32Muon(weights[:1], lr=0.05, weight_decay=0.1)
    theirs = torch.optim.Muon(weights[1:], lr=0.05, weight_decay=0.1)
    start, draw = weights[0].detach().clone(), torch.Generator().manual_seed(1)
    for _ in range(4):
        gradient = torch.randn(shape, generator=draw)
        for weight, chosen in zip(weights, (ours, theirs), strict=True):
            weight.grad = gradient.clone()
            chosen.step()
    moved = (weights[1] - start).norm()
    assert (weights[0] - weights[1]).norm() < 0.02 * moved


def test_an_orthogonalized_matrix_has_singular_values_near_one():
    matrix = torch.diag(torch.tensor([3.0, 2.0, 0.5]))
    values = torch.linalg.svdvals(orthogonalized(matrix, (3.4445, -4.775, 2.0315), 5, 1e-7))
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_bfloat16_is_not_emulated_in_a_step():
    """torch's Muon multiplies in bfloat16: emulated, a step of the nano model took 3 seconds in place of 0.3."""
    assert isinstance(optimizer(Net()).muon, Float32Muon) is not Machine.here().computes_bfloat16


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
