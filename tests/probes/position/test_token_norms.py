"""Token norms: those of Hugging Face's own embeddings, token by token, and those that the paper's code recorded."""

import dataclasses

import numpy as np
import pytest
import tiny
import torch
from golden import golden, golden_llava
from made_up import layout_of
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from ragged import loaded
from untouched import check_untouched

from interp.errors import InputError, ModelError
from interp.prompt.inputs import VLMInputs
from interp.prompt.layout import TokenLayout
from interp.zoo.tiny import TINY
from probes.position.figures.token_norms import COLOURS, plot_token_norms
from probes.position.stream_norms import l2_norms
from probes.position.token_norms import TokenNorms, token_norm_quartiles, token_norms, token_norms_by_group

SCALED = {"tiny-gemma3", "tiny-paligemma", "tiny-paligemma2"}
"""Families that multiply the rows of their embedding table."""


def length(vector):
    return sum(float(part) ** 2 for part in vector) ** 0.5


def made_up(norms, kinds, paper=None):
    values = np.array(norms, dtype=np.float32)
    return TokenNorms(
        "a", np.arange(len(values)), tuple(kinds), tuple(kinds), values, values if paper is None else paper
    )


@pytest.mark.parametrize("name", TINY)
def test_norms_are_those_of_what_hugging_face_feeds_its_first_layer_token_by_token(name):
    vlm, inputs = loaded(name)
    with torch.no_grad():
        fed = vlm.model(**inputs.tensors, output_hidden_states=True, use_cache=False).hidden_states[0]
    for sample, (found, layout) in enumerate(zip(token_norms(vlm, inputs), inputs.layouts, strict=True)):
        real = [place for place, kind in enumerate(layout.kinds) if kind != "pad"]
        assert found.positions.tolist() == real and found.sample_id == str(sample)
        assert found.kinds == tuple(layout.kinds[place] for place in real)
        assert found.tokens == tuple(layout.tokens[place] for place in real)
        assert found.norms == pytest.approx([length(fed[sample, place]) for place in real], rel=1e-5)
        assert found.norms.dtype == found.paper_norms.dtype == np.float32


@pytest.mark.parametrize("name", TINY)
def test_the_papers_norms_are_of_raw_rows_for_words_and_of_the_projector_for_the_image(name):
    vlm, inputs = loaded(name)
    table = vlm.model.get_input_embeddings().weight
    with torch.no_grad():
        cache = vlm.run_with_cache(inputs, names_filter="projector.hook_out")[1]
    projected = iter(cache["projector.hook_out"])  # the samples' tokens one after another
    for sample, found in enumerate(token_norms(vlm, inputs)):
        for place, kind, norm, paper in zip(found.positions, found.kinds, found.norms, found.paper_norms, strict=True):
            token = inputs.input_ids[sample, place]
            of_image = token == vlm.model.config.image_token_id
            assert paper == pytest.approx(length(next(projected) if of_image else table[token]), rel=1e-5)
            assert of_image or kind != "image"
            scaled = vlm.cfg.d_model**0.5 if name in SCALED and not of_image else 1
            assert norm == pytest.approx(scaled * paper, rel=1e-5)
    assert next(projected, None) is None


def test_the_papers_norms_are_those_that_its_code_recorded():
    vlm, inputs = golden_llava()
    recorded = np.load(golden("norms") / "input_norms.npz")
    image = np.concatenate([one.by_group("paper")["image"] for one in token_norms(vlm, inputs)])
    assert image == pytest.approx(recorded["vision"], abs=1e-4)
    words = torch.from_numpy(recorded["caption_ids"])[None].expand(len(inputs), -1)
    ids = torch.cat([words, torch.full((len(inputs), 64), vlm.model.config.image_token_id)], dim=1)
    kinds = ("bos",) + ("question",) * (words.shape[1] - 1) + ("image",) * 64
    captions = VLMInputs(
        {**inputs.tensors, "input_ids": ids, "attention_mask": torch.ones_like(ids)},
        (TokenLayout(kinds, kinds),) * len(inputs),
        *(inputs.grids, inputs.images, inputs.prompts, "raw"),
    )
    for found in token_norms(vlm, captions):
        assert found.paper_norms[: words.shape[1]] == pytest.approx(recorded["text"], abs=1e-4)


def test_a_sample_has_the_same_norms_in_a_padded_batch_and_alone():
    vlm = tiny.vlm()
    inputs = tiny.inputs(vlm, 3)
    assert "pad" in inputs.layouts[2].kinds
    for place, together in enumerate(token_norms(vlm, inputs)):
        (alone,) = token_norms(vlm, vlm.prepare(tiny.photo(place), tiny.QUESTIONS[place]))
        assert together.norms == pytest.approx(alone.norms, rel=1e-6)
        assert together.kinds == alone.kinds and together.tokens == alone.tokens


def test_norms_of_half_precision_are_taken_in_float32():
    vectors = torch.full((1, 2, 4096), 2000.0, dtype=torch.float16)  # whose norm float16 does not hold
    assert l2_norms(vectors).tolist() == [[2000.0 * 64] * 2] and l2_norms(vectors).dtype == torch.float32
    assert l2_norms(vectors.double()).dtype == torch.float64


def test_a_planted_length_of_the_image_is_found():
    vlm = tiny.vlm()
    inputs = tiny.inputs(vlm, 2)
    (plain, _), words = token_norms(vlm, inputs), ("question", "template")
    with vlm.hooks([("projector.hook_out", lambda tensor, hook: 8 * tensor)]):
        (found, _) = token_norms(vlm, inputs)
    factor = {kind: set((found.norms / plain.norms)[np.array(plain.kinds) == kind].round(5)) for kind in plain.kinds}
    assert factor["image"] == {8} and all(factor[kind] == {1} for kind in words)
    assert found.by_group("paper")["image"] == pytest.approx(8 * plain.by_group("paper")["image"], rel=1e-6)


def test_groups_and_quartiles_are_those_of_a_loop_and_groups_that_are_not_there_are_left_out():
    layout = layout_of(9, pads=0)
    norms = np.random.default_rng(0).random(layout.length)
    found = made_up(norms, layout.kinds, paper=np.float32(2 * norms))
    kinds = {"bos": ["bos"], "system": ["system"], "text": ["question", "template"]}
    kinds |= {"question": ["question"], "image": ["image"]}
    table = found.quartiles().set_index(["definition", "group"])
    for group, own in kinds.items():
        values = sorted(float(norm) for norm, kind in zip(found.norms, layout.kinds, strict=True) if kind in own)
        assert sorted(found.by_group()[group].tolist()) == values
        row = table.loc["received", group]
        middle = len(values) // 2
        median = values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2
        assert row["tokens"] == len(values) and row["median"] == pytest.approx(median)
        assert row["first_quartile"] == pytest.approx(np.percentile(values, 25), rel=1e-6)
        assert row["third_quartile"] == pytest.approx(np.percentile(values, 75), rel=1e-6)
        assert table.loc["paper", group]["median"] == pytest.approx(2 * median)
    bare = made_up([1, 2], ("image", "question"))
    assert list(bare.by_group()) == ["text", "question", "image"] and bare.quartiles().notna().all(axis=None)


def test_tokens_of_several_samples_are_pooled():
    one, two = made_up([1, 2], ("image", "question")), made_up([3, 4, 5], ("image", "image", "bos"))
    pooled = token_norms_by_group([one, two])
    assert pooled["image"].tolist() == [1, 3, 4] and pooled["bos"].tolist() == [5]
    table = token_norm_quartiles([one, two], sample_id="both").set_index(["definition", "group"])
    assert table.loc["received", "image"]["median"] == 3 and set(table["sample"]) == {"both"}


def test_the_table_has_a_row_per_token_without_gaps():
    vlm = tiny.vlm()
    found = token_norms(vlm, tiny.inputs(vlm, 2), sample_ids=["x", "y"])[1]
    table = found.to_dataframe()
    assert set(table["sample"]) == {"y"} and table.notna().all(axis=None) and "pad" not in set(table["kind"])
    assert table["position"].tolist() == found.positions.tolist() and table["token"].iloc[0] == found.tokens[0]
    assert {str(table[name].dtype) for name in ("norm", "paper_norm")} == {"float32"}


@pytest.mark.parametrize("ids", [["a"], "ab", ["a", "b", "c"]])
def test_names_that_do_not_fit_are_refused_before_the_first_pass(ids):
    vlm = tiny.vlm()
    with tiny.passes(vlm) as shapes, pytest.raises(InputError, match="2 samples"):
        token_norms(vlm, tiny.inputs(vlm, 2), sample_ids=ids)
    assert shapes == []


def test_layouts_of_another_batch_are_refused_before_the_first_pass():
    vlm = tiny.vlm()
    inputs = tiny.inputs(vlm, 2)
    longer = tuple(layout.extended(["On"]) for layout in inputs.layouts)
    for layouts in (longer, inputs.layouts[:1]):
        with tiny.passes(vlm) as shapes, pytest.raises(InputError, match="layouts"):
            token_norms(vlm, dataclasses.replace(inputs, layouts=layouts))
        assert shapes == []


def test_norms_that_are_not_finite_are_refused_by_the_name_of_their_sample():
    vlm = tiny.vlm()
    inputs = tiny.inputs(vlm, 2)

    def overflow(tensor, hook):
        tensor[1, -1] = torch.inf

    with vlm.hooks([("blocks.0.hook_resid_pre", overflow)]), pytest.raises(ModelError, match="'b'.*infinite or NaN"):
        token_norms(vlm, inputs, sample_ids=["a", "b"])


def test_the_model_is_untouched_afterwards_also_after_an_error():
    check_untouched(token_norms)


def test_the_violins_lie_on_a_log_axis_in_the_papers_colours_with_lines_at_the_quartiles():
    values = 10 ** np.random.default_rng(0).normal(size=200)
    found = made_up([*(30 * values), *values, 7], ["image"] * 200 + ["question"] * 200 + ["bos"])
    ax = Figure().subplots()
    assert found.plot(ax) is ax and ax.get_xscale() == "log"
    lines = [line.get_xdata()[0] for line in ax.lines]
    logs = np.quantile(np.log10(found.norms[:200]), (0.25, 0.5, 0.75))
    assert lines[:3] == pytest.approx(10**logs, rel=1e-5) and lines[3:] == pytest.approx(10**logs / 30, rel=1e-5)
    colours = [to_hex(violin.get_facecolor()[0]) for violin in ax.collections]
    assert colours == [COLOURS["image"].lower(), COLOURS["text"].lower()]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["image, n = 200", "text, n = 200"]
    widths = [violin.get_paths()[0].vertices for violin in ax.collections]
    for violin in widths:  # as wide at its widest as the other, around the middle, from the least to the most norm
        assert violin[:, 1].max() == pytest.approx(1) and violin[:, 1].min() == pytest.approx(-1)
    assert widths[0][:, 0].max() == pytest.approx(found.norms[:200].max(), rel=1e-5)


def test_norms_of_zero_are_counted_beside_their_violin_and_even_norms_are_drawn():
    ax = plot_token_norms({"image": np.ones(4, np.float32), "text": np.array([0, 0, 1, 2], np.float32)})
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["image, n = 4", "text, n = 2, 2 of norm zero left out"]


@pytest.mark.parametrize(("spread", "labels"), [(6, {"0.5", "1", "2", "5"}), (3000, {"0.1", "1", "10", "100", "1000"})])
def test_numbers_along_the_axis_are_plain(spread, labels):
    ax = plot_token_norms({"image": np.linspace(spread / 2, spread, 9), "text": np.linspace(0.4, 1.0, 9)})
    ax.figure.canvas.draw()
    shown = {text.get_text() for text in ax.get_xticklabels() if text.get_text()}
    assert labels <= shown and not any("$" in text for text in shown)
    assert not any(text.get_text() for text in ax.get_xticklabels(minor=True))


@pytest.mark.parametrize(
    ("norms", "says"),
    [({"image": [0.0]}, "nothing to draw"), ({"bos": [1.0]}, "nothing to draw"), ({"image": [-1.0]}, "negative")],
)
def test_what_has_no_violin_is_refused(norms, says):
    with pytest.raises(InputError, match=says):
        plot_token_norms({group: np.array(values) for group, values in norms.items()})


def test_a_definition_that_is_not_known_is_refused():
    found = made_up([1, 2], ("image", "question"))
    for wrong in (found.by_group, lambda name: plot_token_norms(found.by_group(), definition=name)):
        with pytest.raises(InputError, match="'raw' is not known: use one of received, paper"):
            wrong("raw")
    with pytest.raises(InputError, match="at least one"):
        token_norms_by_group([])
