"""The verdicts are plain sentences."""

from __future__ import annotations

from quant.report.words import sentence
from tests.quant.report.conftest import NO_KERNEL, REFUSED, comparison


def test_the_verdicts_are_plain():
    int8, mxfp4, nvfp4, _ = comparison().candidates
    assert sentence(int8) == "int8: ship it. All 4 gates pass."
    unserved = f" vLLM did not serve it here: {NO_KERNEL}."
    assert sentence(mxfp4.model_copy(update={"name": "mxfp4", "verdicts": mxfp4.verdicts[2:3]})) == (
        f"mxfp4: do not ship. tier_flips: 6.1% of pairs change tier, at most 1.0% is allowed.{unserved}"
    )
    assert sentence(int8.model_copy(update={"cost": mxfp4.cost})) == f"int8: ship it. All 4 gates pass.{unserved}"
    unmeasured = " What vLLM serves was not measured."
    assert sentence(mxfp4.model_copy(update={"cost": ()})).endswith(
        f"ndcg@5: the ranking loses up to 0.032 nDCG@5. Nor do these pass: tier_flips, served.{unmeasured}"
    )
    for cost in ((), int8.cost[1:]):  # none was measured; or, as of a load-time row, that of transformers
        assert sentence(int8.model_copy(update={"cost": cost})) == f"int8: ship it. All 4 gates pass.{unmeasured}"
    assert sentence(nvfp4.model_copy(update={"verdicts": ()})) == f"nvfp4: do not ship. {REFUSED}.{unmeasured}"
    assert sentence(int8.model_copy(update={"verdicts": ()})) == "int8: do not ship. No gate was judged."
