"""Dual mechanisms on tiny families: all tools that the family can do run end to end, and the page says what it can."""

from dataclasses import replace

import numpy as np
import pytest

from interp.errors import InputError
from interp.model.hooked_vlm import HookedVLM
from probes.mechanisms.dual.report import dual_sentences, dual_tools
from probes.mechanisms.dual.study import TOOLS, dual_mechanisms
from probes.mechanisms.scenes.geometry import geometry_of
from probes.mechanisms.scenes.line_pairs import line_pairs, setting_of

LETTERS = {"left": "l", "right": "r", "above": "a", "below": "b"}
"""Words that a byte-level tokenizer has a token for."""

TOO_COARSE = ("strip", "background")
"""Of 4 x 4 tokens the third item lies in the middle third, so that these are refused."""


def lettered(vlm, n=6):
    """Lines whose answers are letters, two directions."""
    given = {"form": "relation", "n": n, "directions": ("left", "above")}
    drawn = line_pairs(setting_of("squares"), geometry_of(vlm), **given)
    return [replace(pair, **sides(pair), outcomes=told(pair)) for pair in drawn]


def sides(pair):
    options = tuple(LETTERS.values())
    return {
        side: replace(getattr(pair, side), answer=LETTERS[getattr(pair, side).answer], options=options)
        for side in ("clean", "counterfactual")
    }


def told(pair):
    return {name: LETTERS[word] for name, word in pair.outcomes.items()}


@pytest.mark.parametrize(
    ("name", "tools"),
    [
        ("tiny-idefics3", TOOLS),  # a view of the whole and tiles
        ("tiny-llava_next", tuple(tool for tool in TOOLS if tool not in TOO_COARSE)),  # the same, and row ends
        ("tiny-pixtral", TOOLS),  # row breaks
        ("tiny-qwen2_5_vl", TOOLS),  # merged tokens
        (
            "tiny-gemma3",
            tuple(tool for tool in TOOLS if tool not in TOO_COARSE),
        ),  # a two-way mask
    ],
)
def test_all_tools_run_on_a_family_and_the_page_says_why_random_weights_show_nothing(name, tools):
    vlm = HookedVLM.from_pretrained(name, self_check=False)
    found = dual_mechanisms(vlm, lettered(vlm), tools, progress=False, draws=20)
    assert not found.refused and set(found.sweeps) == set(tools) - {"probe", "ablate"}
    assert set(found.probes) == {"horizontal", "vertical"} and found.ablation is not None
    assert (
        found.verdict() == "not told" and "no pair of which the model gets both sides right" in dual_sentences(found)[1]
    )
    swapped, ablated = (found.sweeps[key] for key in ("object", "backup"))
    assert np.abs(swapped.p_patched[:, 0] - swapped.p_clean).max() > 1e-6, "a swap at slot 0 does something"
    assert np.allclose(ablated.p_patched[:, 0], ablated.p_clean, atol=1e-6), "and nothing where order is removed"
    assert np.isfinite(swapped.p_patched).all() and list(dual_tools(found).found)[0] == "statements"


def test_what_a_family_refuses_is_named_and_all_else_is_measured():
    vlm = HookedVLM.from_pretrained("tiny-qwen3_vl", self_check=False)
    found = dual_mechanisms(vlm, lettered(vlm), ("object", "last", "ablate", "backup"), progress=False, draws=20)
    assert set(found.refused) == {"ablate", "backup"} and all("DeepStack" in why for why in found.refused.values())
    assert set(found.sweeps) == {"object", "last"}
    why = found.left_out.query("axis == 'all'").set_index("measure")["why"]
    assert "DeepStack" in why["language_adds"] and "DeepStack" in why["language_builds"]
    assert "both sides right" in why["encoder_carries"]


def test_lines_that_the_grid_is_too_coarse_for_are_refused_with_the_tool_to_leave_out():
    vlm = HookedVLM.from_pretrained("tiny-gemma3", self_check=False)
    with pytest.raises(InputError, match="the strip of .* tokens .*; or leave out the tool 'strip'"):
        dual_mechanisms(vlm, lettered(vlm), progress=False)
    with pytest.raises(InputError, match="pairs on the horizontal axis: .* groups, .*or leave out the tool 'probe'"):
        dual_mechanisms(vlm, lettered(vlm, n=2), ("probe", "object"), progress=False)
