"""Every tool of position: prompts without image or system part, tables without gaps in every family, planted heads."""

import dataclasses

import numpy as np
import pytest
import tiny
import torch
from ragged import loaded

from interp.errors import InputError
from interp.model.features import ImageFeatures
from interp.model.hooked_vlm import HookedVLM
from interp.planted.llava import (
    FETCH_HEAD,
    N_LAYERS,
    OBJECT_HEAD,
    SINK_HEAD,
    build_planted,
    planted_scenes,
)
from interp.planted.parts import D_HEAD, N_HEADS
from interp.prompt.inputs import VLMInputs
from interp.prompt.layout import TokenLayout
from interp.zoo.tiny import TINY
from probes.position.balance import cross_modality_balance
from probes.position.balance_measurement import measure_attention
from probes.position.mean_balance import mean_balance
from probes.position.mean_residual_norms import mean_residual_norms
from probes.position.mean_shares import mean_shares
from probes.position.order_answers import OrderMeasurement
from probes.position.residual_norms import residual_norms
from probes.position.rope import rope_sensitivity
from probes.position.rope_summary import mean_rope_sensitivity
from probes.position.token_norms import token_norm_quartiles, token_norms


def rope_tables(vlm, inputs):
    found = rope_sensitivity(vlm, inputs)
    summary = mean_rope_sensitivity(found)
    return [*(one.to_dataframe() for one in found), summary.to_dataframe(), summary.by_layer()]


def norm_tables(vlm, inputs):
    found = residual_norms(vlm, inputs)
    tables = [table for one in found for table in (one.to_dataframe(), one.ratios_to_dataframe())]
    for convention in ("stream", "paper"):
        mean = mean_residual_norms(found, convention=convention, n=20)
        tables += [mean.to_dataframe(), mean.ratios_to_dataframe()]
    return tables


def token_tables(vlm, inputs):
    found = token_norms(vlm, inputs)
    return [*(one.to_dataframe() for one in found), token_norm_quartiles(found)]


def balance_tables(vlm, inputs):
    found = [cross_modality_balance(rows.pattern, rows.layout) for rows in vlm.generate_with_cache(inputs, 2)[1]]
    return [one.to_dataframe() for one in (*found, mean_balance(found))]


def share_tables(vlm, inputs):
    found = measure_attention(vlm, inputs, 2)
    every = [one for own in found for one in (own.shares, *own.entropy.values())]
    return [one.to_dataframe() for one in (*every, mean_shares(own.shares for own in found))]


def order_tables(vlm, inputs):
    return [one.to_dataframe() for one in OrderMeasurement.of(vlm, range(2), max_new_tokens=2).ask(inputs)]


TOOLS = {
    "rope": rope_tables,
    "norms": norm_tables,
    "tokens": token_tables,
    "balance": balance_tables,
    "shares": share_tables,
    "order": order_tables,
}


def without_image(vlm):
    """A prompt of words alone."""
    ids = vlm.processor.tokenizer("Where is the mug ?", return_tensors="pt").input_ids
    kinds = ("bos",) + ("question",) * (ids.shape[1] - 1)
    tensors = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    return VLMInputs(tensors, (TokenLayout(kinds, kinds),), (), (), ("Where is the mug ?",), "raw")


@pytest.mark.parametrize("name", TINY)
def test_no_table_of_any_tool_has_a_gap_in_any_family(name):
    vlm, inputs = loaded(name, 3)
    for tool, tables in TOOLS.items():
        for table in tables(vlm, inputs):
            assert len(table) and not table.isna().any(axis=None), tool
            numbers = table.select_dtypes("number").to_numpy(dtype=float)
            assert np.isfinite(numbers).all(), tool


@pytest.mark.parametrize("tool", ["rope", "norms", "shares", "order"])
def test_a_prompt_without_an_image_is_refused_before_the_first_pass(tool):
    vlm = tiny.vlm(self_check=False)
    with tiny.passes(vlm) as passes, pytest.raises(InputError, match="image"):
        TOOLS[tool](vlm, without_image(vlm))
    assert not passes


def test_the_tokens_of_a_prompt_without_an_image_have_norms_and_its_balance_is_refused():
    vlm = tiny.vlm(self_check=False)
    (norms, table) = token_tables(vlm, without_image(vlm))
    assert set(table["group"]) == {"bos", "text", "question"} and set(norms["kind"]) == {"bos", "question"}
    with pytest.raises(InputError, match="0 image and"):
        balance_tables(vlm, without_image(vlm))


def with_system(inputs):
    """The batch, its first words taken for a system prompt."""
    changed = []
    for layout in inputs.layouts:
        kinds = np.array(layout.kinds, dtype=object)
        kinds[layout.positions("question", "template")[0]] = "system"
        changed.append(TokenLayout(tuple(kinds), layout.tokens))
    return dataclasses.replace(inputs, layouts=tuple(changed))


@pytest.mark.parametrize("tool", TOOLS)
def test_without_a_system_prompt_no_table_names_one_and_with_one_only_the_words_change(tool):
    vlm = tiny.vlm(self_check=False)
    inputs = tiny.inputs(vlm, 2)
    bare, given = TOOLS[tool](vlm, inputs), TOOLS[tool](vlm, with_system(inputs))
    for table in bare:
        assert "system" not in {str(cell) for name in table.select_dtypes("object") for cell in table[name]}
    named = {str(cell) for table in given for name in table.select_dtypes("object") for cell in table[name]}
    assert ("system" in named) == (tool in ("norms", "tokens", "shares"))


def test_a_single_image_token_can_not_be_permuted_and_is_refused_before_the_first_pass():
    vlm = tiny.vlm(self_check=False)
    one = ImageFeatures.capture(vlm, tiny.inputs(vlm)).pooled(1)
    with tiny.passes(vlm) as passes, pytest.raises(InputError, match="no two image tokens may change places"):
        OrderMeasurement.of(vlm, range(2)).check_inputs(one.inputs)
    assert len(one.inputs.grids[0]) == 1 and not passes


@pytest.mark.parametrize("side", [1, 2, 3])
def test_a_side_that_does_not_divide_the_grid_is_asked_as_any_other(side):
    vlm = tiny.vlm(self_check=False)  # 4 x 4 tokens
    (found,) = OrderMeasurement.of(vlm, range(1), [side], max_new_tokens=2).ask(tiny.inputs(vlm))
    assert found.image_tokens.tolist() == [16, 16, side**2] and not found.to_dataframe().isna().any(axis=None)


def test_planted_heads_have_a_balance_of_exactly_one_and_exactly_zero():
    model, processor = build_planted("planted-object")
    for layer, head in (FETCH_HEAD, OBJECT_HEAD, SINK_HEAD):  # so steep that nothing is left for anything else
        rows = slice(head * D_HEAD, (head + 1) * D_HEAD)
        model.model.language_model.layers[layer].self_attn.q_proj.weight.data[rows] *= 8
    vlm = HookedVLM.wrap(model, processor, self_check=False)
    every = planted_scenes("planted-object", 4)
    inputs = vlm.prepare([one.image for one in every], [one.question for one in every], prompt="paper")
    answer, found = vlm.generate_with_cache(inputs, 2, query_rows="last")
    balances = [cross_modality_balance(rows.pattern, rows.layout) for rows in found]
    idle = np.ones((N_LAYERS, N_HEADS), dtype=bool)
    for layer, head in ((0, 0), (0, 1), FETCH_HEAD, OBJECT_HEAD, SINK_HEAD):
        idle[layer, head] = False
    for one in (*balances, mean_balance(balances)):
        assert one.values[FETCH_HEAD] == 0 == one.image_mass[FETCH_HEAD] and one.text_mass[FETCH_HEAD] > 0.99
        assert one.values[OBJECT_HEAD] == one.values[SINK_HEAD] == 1
        assert one.text_mass[OBJECT_HEAD] == 0 and one.image_mass[OBJECT_HEAD] > 0.99
    for one, layout in zip(balances, inputs.layouts, strict=True):  # heads without a part look evenly
        words, image = (len(layout.positions(*kinds)) for kinds in (("question", "template"), ("image",)))
        assert one.values[idle] == pytest.approx(image / (image + words), rel=1e-4)
    assert [text.strip() for text in answer.texts] == [one.answer for one in every]
