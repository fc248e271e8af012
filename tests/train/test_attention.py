import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from train.attention import SHORT_ROW, attention_kernel


def gradients(query: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    query = query.clone().requires_grad_()
    found = scaled_dot_product_attention(query, query, query, attn_mask=mask)
    found.square().sum().backward()
    assert query.grad is not None
    return found.detach(), query.grad


@pytest.mark.parametrize("width", [8, SHORT_ROW])
def test_both_kernels_say_the_same_forwards_and_backwards(width):
    torch.manual_seed(0)
    query, mask = torch.randn(2, 3, width, 4), torch.rand(2, 1, width, width) < 0.5
    mask |= torch.eye(width, dtype=torch.bool)  # every token sees one at least
    usual = gradients(query, mask)
    with attention_kernel(torch.zeros(2, width)):
        assert not torch.backends.cuda.flash_sdp_enabled()
        chosen = gradients(query, mask)
    for one, other in zip(usual, chosen, strict=True):
        torch.testing.assert_close(one, other)


def test_long_rows_keep_the_fused_kernel_whose_memory_does_not_grow_with_their_square():
    with attention_kernel(torch.zeros(2, SHORT_ROW + 1)):
        assert torch.backends.cuda.flash_sdp_enabled()


def test_the_choice_ends_with_the_block():
    with attention_kernel(torch.zeros(2, 8)):
        pass
    assert torch.backends.cuda.flash_sdp_enabled()
