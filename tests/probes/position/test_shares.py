"""Attention shares and entropy: loops written out, planted rows, and the recorded values in both alignments."""

import json

import numpy as np
import pytest
from made_up import layout_of, softmax_rows
from matplotlib.figure import Figure
from PIL import Image

from interp import HookedVLM
from interp.errors import InputError
from interp.model.generation import GeneratedAttention
from interp.prompt.layout import TokenLayout
from interp.zoo.tiny import TINY
from probes.position.balance_measurement import measure_attention
from probes.position.figures.shares import plot_shares
from probes.position.mean_shares import mean_shares
from probes.position.shares import aggregate_attention, attention_entropy, modality_shares

LAYOUT = layout_of(9, pads=2)
KINDS = {"system": ("system",), "image": ("image",), "text": ("question", "template")}


def generated(layout, steps, seed=0):
    tokens = tuple(f"w{step}" for step in range(steps))
    rows = np.nan_to_num(softmax_rows(layout, 2, 3, steps=steps, seed=seed))
    return GeneratedAttention(rows, tokens, layout.extended(list(tokens[:-1])))


def by_loop(pattern, layout):
    """Aggregated rows, one step after the other."""
    rows = []
    for step in range(pattern.shape[2]):
        total = np.zeros(pattern.shape[-1])
        for layer in pattern[:, :, step].astype(np.float64):
            mean = sum(layer) / len(layer)
            mean = np.array([0 if key in layout.positions("bos") else weight for key, weight in enumerate(mean)])
            total += mean / mean.sum() / len(pattern)
        rows.append(total)
    return rows


def test_shares_are_those_of_a_loop_over_steps_and_the_authors_pie_is_another():
    rows = generated(LAYOUT, 4)
    found = modality_shares(rows.pattern, rows.layout, sample_id="photo-7")
    kept, masked = [], []
    for row in by_loop(rows.pattern, rows.layout):
        mass = {n: sum(row[key] for key, kind in enumerate(LAYOUT.kinds) if kind in own) for n, own in KINDS.items()}
        kept.append([mass[name] / sum(mass.values()) for name in found.groups])
        masked.append(mass["image"] / (mass["image"] + mass["text"]))
    assert found.groups == ("system", "image", "text")
    assert found.by_step == pytest.approx(np.array(kept), abs=1e-6) and found.masked == pytest.approx(np.mean(masked))
    system, image, text = np.mean(kept, axis=0)
    assert found.kept == pytest.approx([system, image, text], abs=1e-6)
    theirs = np.mean(masked) * (1 - system)
    assert found.kept_authors == pytest.approx([system, theirs, 1 - system - theirs], abs=1e-6)
    assert abs(theirs - image) > 1e-4 and found.kept.sum() == pytest.approx(found.kept_authors.sum()) == 1


def test_planted_shares_are_found_whatever_bos_and_markers_take():
    row = np.zeros((1, 1, LAYOUT.length), dtype=np.float32)
    planted = {("bos",): 0.6, ("image_marker",): 0.1, KINDS["system"]: 0.15, KINDS["image"]: 0.1, KINDS["text"]: 0.05}
    for kinds, share in planted.items():
        row[..., LAYOUT.positions(*kinds)] = share / len(LAYOUT.positions(*kinds))
    found = modality_shares(row, LAYOUT)
    assert found.kept == pytest.approx([0.5, 1 / 3, 1 / 6], abs=1e-6) and found.masked == pytest.approx(2 / 3)
    assert found.coverage == pytest.approx(0.75)


def test_a_head_that_looks_at_bos_weighs_less_than_its_layer():
    """Heads are averaged before BOS is taken out, layers after."""
    row = np.zeros((2, 2, LAYOUT.length), dtype=np.float32)
    image, text, bos = (LAYOUT.positions(*kinds)[0] for kinds in (("image",), KINDS["text"], ("bos",)))
    row[0, 0, image] = row[0, 1, text] = row[1, 0, image] = row[1, 1, bos] = 1
    assert modality_shares(row, LAYOUT).masked == pytest.approx((0.5 + 1) / 2)


def test_without_a_system_prompt_its_group_is_not_in_the_table():
    kinds = tuple(kind for kind in LAYOUT.kinds if kind != "system")
    layout = TokenLayout(kinds, kinds)
    found = modality_shares(softmax_rows(layout, 2, 3), layout)
    table = found.to_dataframe()
    assert (
        found.groups == ("image", "text")
        and set(table["group"]) == {"image", "text"}
        and not table.isna().any(axis=None)
    )
    assert found.kept == pytest.approx(found.kept_authors, abs=1e-6) and found.kept[0] == pytest.approx(found.masked)


@pytest.mark.parametrize(("alignment", "first"), [("produced", 0), ("consumed", 1)])
def test_entropy_is_that_of_a_loop_over_image_tokens(alignment, first):
    rows = generated(LAYOUT, 4)
    found = attention_entropy(rows, alignment=alignment)
    assert found.tokens == rows.tokens[: 4 - first]
    for place, row in enumerate(by_loop(rows.pattern, rows.layout)[first:]):
        image = row[LAYOUT.positions("image")]
        wanted = -sum(p * np.log2(p) for p in image / image.sum()) / np.log2(9)
        assert found.values[place] == pytest.approx(wanted, abs=1e-6)


def test_entropy_is_one_of_even_and_zero_of_single_attention():
    row = np.zeros((1, 1, 2, LAYOUT.length + 1), dtype=np.float32)
    row[:, :, 0, LAYOUT.positions("image")] = 1 / 9
    row[:, :, 1, LAYOUT.positions("image")[4]] = 1
    rows = GeneratedAttention(row, ("a", "b"), LAYOUT.extended(["a"]))
    assert attention_entropy(rows).values == pytest.approx([1, 0], abs=1e-6)
    assert attention_entropy(rows).shares[1].argmax() == 4


def test_entropy_is_as_recorded_in_the_authors_alignment(repo):
    folder = repo.parent / "shared" / "golden" / "entropy"
    if not folder.is_dir():
        pytest.skip("needs the recorded values, which are absent")
    arrays, cases = np.load(folder / "model_cases.npz"), json.loads((folder / "model_cases.json").read_text())
    asked = 0
    for case in cases:
        steps = [arrays[f"img{case['image']}.attn_last.step{step}"] for step in range(6)]
        pattern = np.zeros((*steps[0].shape[:2], 6, steps[-1].shape[-1]), dtype=np.float32)
        for step, own in enumerate(steps):
            pattern[:, :, step, : own.shape[-1]] = own
        kinds = ("bos", "template", *("image",) * 64, *("question",) * 5)
        rows = GeneratedAttention(pattern, tuple("abcdef"), TokenLayout(kinds, kinds).extended(list("abcde")))
        place = case["token_position"]  # 0 is BOS, which has the last prompt row
        found = attention_entropy(rows, alignment="consumed" if place else "produced")
        own, tag = max(place - 1, 0), case["tag"]
        assert found.values[own] == pytest.approx(float(arrays[f"{tag}.entropy"]), abs=5e-5)
        shares = found.shares[own]
        brightness = (shares - shares.min()) / (shares.max() - shares.min())
        assert brightness == pytest.approx(arrays[f"{tag}.map"].ravel(), abs=2e-4)
        other = attention_entropy(rows).values[place - 1] if place else found.values[0]
        asked += bool(place) and abs(other - found.values[own]) > 1e-4
    assert asked == 6  # both alignments differ wherever they could


@pytest.mark.parametrize("name", TINY)
def test_every_family_has_shares_and_entropy_and_stays_as_it_was(name):
    vlm = HookedVLM.from_pretrained(name, self_check=False)
    inputs = vlm.prepare(
        [Image.new("RGB", (64, 64), "grey")] * 2, ["Where is the mug?", "Where is it?"], prompt="paper"
    )
    plain = vlm.generate(inputs, 3).texts
    for found in measure_attention(vlm, inputs, 3):
        shares, entropy = found.shares, found.entropy["produced"]
        assert {"image", "text"} <= set(shares.groups) and shares.kept.sum() == pytest.approx(1, abs=1e-5)
        assert 0 < shares.masked < 1 and 0 < shares.coverage <= 1 and (entropy.values > 0).all()
        assert not entropy.to_dataframe().isna().any(axis=None) and len(entropy.tokens) == len(entropy.values)
    assert vlm.generate(inputs, 3).texts == plain


def test_the_mean_weighs_samples_alike_and_wants_the_same_groups():
    one, other = (
        modality_shares(rows.pattern, rows.layout) for rows in (generated(LAYOUT, 4), generated(LAYOUT, 2, 1))
    )
    found = mean_shares([one, other])
    assert found.kept == pytest.approx((one.kept + other.kept) / 2, abs=1e-6)
    assert found.masked == pytest.approx((one.masked + other.masked) / 2)
    kinds = ("bos", "image", "image", "question")
    layout = TokenLayout(kinds, kinds)
    for wrong in ([], [one, modality_shares(softmax_rows(layout, 2, 3), layout)]):
        with pytest.raises(InputError, match="average"):
            mean_shares(wrong)


def test_figures_show_the_numbers():
    rows = generated(LAYOUT, 4)
    shares, entropy = modality_shares(rows.pattern, rows.layout), attention_entropy(rows)
    ax = Figure().subplots()
    assert shares.plot(ax) is ax
    assert [bar.get_width() for bar in ax.patches] == pytest.approx([*shares.kept, shares.masked, 1 - shares.masked])
    assert [bar.get_height() for bar in entropy.plot().patches] == pytest.approx(entropy.values)


def test_without_a_system_prompt_there_is_one_bar():
    ax = plot_shares(("image", "text"), np.array([0.7, 0.3], dtype=np.float32), 0.7)
    assert [bar.get_width() for bar in ax.patches] == pytest.approx([0.7, 0.3])
    assert [text.get_text() for text in ax.get_yticklabels()] == ["no system\nprompt"]


def test_what_can_not_be_measured_is_refused():
    rows = generated(LAYOUT, 1)
    for kinds in (("bos", "image", "system"), ("bos", "question")):
        layout = TokenLayout(kinds, kinds)
        with pytest.raises(InputError, match="image and"):
            modality_shares(softmax_rows(layout, 1, 1), layout)
    with pytest.raises(InputError, match="alignment 'late'"):
        attention_entropy(rows, alignment="late")
    with pytest.raises(InputError, match="query of no pass"):
        attention_entropy(rows, alignment="consumed")
    kinds = ("bos", "image", "question")
    layout = TokenLayout(kinds, kinds)
    with pytest.raises(InputError, match="1: give 2 or more"):
        attention_entropy(GeneratedAttention(softmax_rows(layout, 1, 1, steps=1), ("a",), layout))
    bos = np.zeros((1, 1, LAYOUT.length), dtype=np.float32)
    bos[..., LAYOUT.positions("bos")] = 1
    with pytest.raises(InputError, match="layer 0 has all its attention on BOS"):
        aggregate_attention(bos, LAYOUT)
