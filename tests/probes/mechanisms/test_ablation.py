"""Ordering ablation: against recorded values, a loop over tokens, and a model that is told what to answer."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from golden import golden, golden_llava, layout
from made_up import square_grid
from PIL import Image

from interp import HookedVLM, ImageFeatures, Object, Sample
from interp.errors import InputError, RefusedError
from interp.image.boxes import Box
from interp.prompt.inputs import VLMInputs
from interp.stats.clusters import mean_over_groups
from probes.mechanisms.ablation.measurement import ARMS, AblationMeasurement
from probes.mechanisms.ablation.ordered_photos import OrderedPhoto, with_ordering_kept, without_ordering
from probes.mechanisms.ablation.ordering import ablate_ordering, guess_of, measure_ablation
from probes.mechanisms.ablation.report import ablation_findings

ENTERS = "blocks.0.hook_resid_pre"


def recorded_inputs(vlm, ids, rgb):
    """A prompt as it was recorded, about a picture given by its pixels."""
    pixels = (torch.tensor(rgb).permute(2, 0, 1)[None].float() / 255 - 0.5) / 0.25
    tensors = {"input_ids": torch.tensor(ids)[None], "pixel_values": pixels}
    tensors["attention_mask"] = torch.ones_like(tensors["input_ids"])
    one = layout(ids.tolist(), vlm.model.config.image_token_id)
    return VLMInputs(tensors, (one,), (square_grid((32, 32), 8),), (Image.fromarray(rgb),), ("",), "raw")


def slots(direction):
    """The tokens of the three places on 8 x 8 tokens: 2 x 2 each, one apart, in the middle of the other axis."""
    corners = [(3, start) if direction in ("left", "right") else (start, 3) for start in (0, 3, 6)]
    return [[(row + i) * 8 + col + j for i in range(2) for j in range(2)] for row, col in corners]


def test_residual_stream_and_logits_are_those_recorded_from_the_papers_code():
    folder = golden("ablation")
    recorded, cases = np.load(folder / "cases.npz"), json.loads((folder / "cases.json").read_text())
    vlm, _ = golden_llava()
    for case in cases:
        tag, ids = case["tag"], recorded[f"{case['tag']}.ids"]

        def tokens(rgb, ids=ids):
            return ImageFeatures.capture(vlm, recorded_inputs(vlm, ids, rgb)).tokens()[0]

        inputs = recorded_inputs(vlm, ids, recorded[f"{tag}.clean_rgb"])
        blank = tokens(np.full((32, 32, 3), 255, np.uint8))
        centred = [tokens(rgb) for rgb in recorded[f"{tag}.iso_rgb"]]
        items = slots(case["direction"])
        edit = without_ordering(items, items[1], centred, blank)
        with torch.no_grad():
            output, cache = vlm.run_with_cache(inputs, names_filter=ENTERS, intervention=edit)
        assert np.abs(cache[ENTERS][0].numpy() - recorded[f"{tag}.resid"]).max() < 2e-5
        logits = output.logits[0, -1]
        assert np.abs(logits.numpy() - recorded[f"{tag}.logits_last"]).max() < 1e-4
        assert logits.softmax(-1).max().item() == pytest.approx(case["prob"], abs=2e-5)
        assert inputs.layouts[0].image_positions[0] == case["image_start"]


COLOURS = {"red": (255, 0, 0), "blue": (0, 0, 255), "green": (0, 160, 0)}
SIDE, CELL = 112, 14  # of the embedded model: 8 x 8 tokens


def drawn(*things):
    """A white canvas with squares of 2 x 2 tokens, each of a colour with its first token (row, column)."""
    canvas = np.full((SIDE, SIDE, 3), 255, np.uint8)
    for colour, (row, col) in things:
        canvas[row * CELL : (row + 2) * CELL, col * CELL : (col + 2) * CELL] = COLOURS[colour]
    return Image.fromarray(canvas)


def photo(number, colours, group=""):
    """A red and a blue square, and what it takes to ask where one is."""
    places = [(3, 0), (3, 3), (3, 6)]
    first, third = colours[0], colours[2]
    sample = Sample(
        id=f"photo {number}",
        image=drawn(*zip(colours, places, strict=True)),
        question=f"Where is the {first} square in relation to the {third} square? Answer with left or right.",
        options=("left", "right"),
        answer="left",
        objects=(Object(first, Box(first, (0, 42, 28, 70))), Object(third, Box(third, (84, 42, 112, 70)))),
        relation="left",
        group=group or f"group {number}",
    )
    items = slots("left")
    return OrderedPhoto(
        sample,
        items,
        items[1],
        centred=tuple(drawn((colour, places[1])) for colour in colours),
        placed=tuple(drawn(one) for one in zip(colours, places, strict=True)),
        blank=drawn(),
    )


@pytest.fixture(scope="module")
def vlm():
    return HookedVLM.from_pretrained("shapes-vlm", self_check=False)


@pytest.fixture(scope="module")
def photos():
    orders = [("red", "green", "blue"), ("blue", "green", "red"), ("green", "red", "blue"), ("blue", "red", "green")]
    return [photo(number, colours) for number, colours in enumerate(orders)]


def test_every_token_of_the_grid_is_what_a_loop_puts_there(vlm, photos):
    one = photos[0]
    inputs = vlm.prepare(one.sample.image, one.sample.question)

    def tokens(image):
        return ImageFeatures.capture(vlm, vlm.prepare(image, one.sample.question)).tokens()[0]

    blank, centred, placed = tokens(one.blank), [*map(tokens, one.centred)], [*map(tokens, one.placed)]
    wanted = {"removed": blank.clone(), "kept": blank.clone()}
    for number, item in enumerate(one.items):
        for place, token in enumerate(item):
            wanted["removed"][token] = centred[number][one.middle[place]]
            wanted["kept"][token] = placed[number][token]
    edits = {
        "removed": without_ordering(one.items, one.middle, centred, blank),
        "kept": with_ordering_kept(one.items, placed, blank),
    }
    made = AblationMeasurement.of(vlm, [one]).edits([one], one.sample.question)
    for name, edit in edits.items():
        for own in (edit, made[f"ordering {name}"]):
            with torch.no_grad():
                _, cache = vlm.run_with_cache(inputs, names_filter="projector.hook_out", intervention=own)
            assert torch.equal(cache["projector.hook_out"], wanted[name])
    with torch.no_grad():
        plain = vlm.run_with_cache(inputs, names_filter="projector.hook_out")[1]["projector.hook_out"]
        random = vlm.run_with_cache(
            inputs, names_filter="projector.hook_out", intervention=made["random tokens"]
        )[1]["projector.hook_out"]  # fmt: skip
    moved = set((random != plain).any(-1).nonzero().flatten().tolist())
    assert not moved & set(np.concatenate(one.items).tolist())
    assert all(torch.equal(random[token], blank[token]) for token in moved)


def test_answers_are_those_of_single_runs_and_a_resumed_study_is_the_same(vlm, photos, tmp_path):
    found = ablate_ordering(vlm, photos, batch=3, progress=False, draws=50, out=tmp_path / "a")
    assert found.right.shape == (4, 4) and found.arms == ARMS
    for one in photos:
        made = AblationMeasurement.of(vlm, [one]).edits([one], one.sample.question)
        inputs = vlm.prepare(one.sample.image, one.sample.question)
        for arm in ARMS:
            text = vlm.generate(inputs, 10, intervention=made.get(arm)).texts[0]
            assert found.answers.query("id == @one.sample.id and arm == @arm")["text"].item() == text
    again = ablate_ordering(vlm, photos, batch=3, progress=False, draws=50, out=tmp_path / "a", resume=True)
    assert again.measures.equals(found.measures) and again.answers.equals(found.answers)
    assert found.chance == {"all": 0.5} and not found.measures.isna().any().any()
    page = ablation_findings(found)
    assert "taken out" in page.sentences[0] and "chance 50.0 %" in page.sentences[0]
    assert page.sections()


def test_accuracies_and_paired_differences_are_those_of_a_loop():
    rng = np.random.default_rng(0)
    right = rng.random((4, 40)) < np.array([0.9, 0.4, 0.8, 0.9])[:, None]
    groups = np.array([str(number // 2) for number in range(40)], dtype=object)
    relations = np.array(["left", "above"] * 20, dtype=object)
    shown, left_out = measure_ablation(right, np.full(40, 1 / 3), relations, groups, n=200)
    own = shown.set_index(["relation", "measure", "arm"])["value"]
    for relation, some in (("all", relations != ""), ("left", relations == "left")):
        part = right[:, some]
        assert own[relation, "accuracy", "ordering removed"] == pytest.approx(part[1].mean(), abs=1e-6)
        assert own[relation, "over_chance", "ordering removed"] == pytest.approx(part[1].mean() - 1 / 3, abs=1e-6)
        gap = (part[1].astype(float) - part[2]).mean()
        assert own[relation, "difference", "removed - kept"] == pytest.approx(gap, abs=1e-6)
    assert left_out.empty and (shown["low"] <= shown["value"] + 1e-6).all()
    unknown = np.where(np.arange(40) == 3, np.nan, 0.5)
    shown, left_out = measure_ablation(right, unknown, relations, groups, n=20)
    assert set(left_out["measure"]) == {"over_chance"} and set(left_out["relation"]) == {"all", "above"}


def test_photos_that_do_not_fit_are_refused_before_the_first_pass(vlm, photos):
    one = photos[0]
    whole = {name: getattr(one, name) for name in ("sample", "items", "middle", "centred", "placed", "blank")}
    for change, says in (
        ({"middle": (1, 2)}, "give as many each"),
        ({"items": ((0, 1, 8, 9), (1, 2, 9, 10), (4, 5, 12, 13))}, "share an image token"),
        ({"centred": one.centred[:2]}, "2 photos 'centred' of 3 items"),
    ):
        with pytest.raises(InputError, match=says):
            OrderedPhoto(**{**whole, **change})
    ran = []
    mark = vlm.model.register_forward_pre_hook(lambda *given: ran.append(1))
    try:
        for change, says in (
            ({"items": ((0, 1, 8, 9), (3, 4, 11, 12), (60, 61, 68, 69))}, "photo 'photo 0': image tokens"),
        ):
            wrong = OrderedPhoto(**{**whole, **change})
            if says:
                with pytest.raises(InputError, match=says):
                    ablate_ordering(vlm, [wrong, photos[1]], progress=False)
        with pytest.raises(InputError, match="at least two groups"):
            ablate_ordering(vlm, [one], progress=False)
        with pytest.raises(InputError, match="chance="):
            ablate_ordering(vlm, photos, chance=1.5, progress=False)
        with pytest.raises(InputError, match="no OrderedPhoto"):
            AblationMeasurement.of(vlm, [one.sample])
    finally:
        mark.remove()
    assert not ran
    deep = HookedVLM.from_pretrained("tiny-qwen3_vl", self_check=False)
    with pytest.raises(RefusedError, match="DeepStack"):
        ablate_ordering(deep, photos, progress=False)
    wide = HookedVLM.from_pretrained("tiny-qwen2_5_vl", self_check=False)
    few = {"items": ((0,), (1,), (2,)), "middle": (1,)}
    odd = OrderedPhoto(**{**whole, **few, "blank": Image.new("RGB", (SIDE, 2 * SIDE))})
    with pytest.raises(InputError, match="blank photo: .* image tokens"):
        odd.check_grid(*grids(wide, odd))


def grids(vlm, one):
    def of(image):
        return vlm.family.grid(image.size, vlm.processor, vlm.model.config)

    return of(Image.new("RGB", (SIDE, SIDE))), of


def test_random_tokens_are_as_many_as_items_have_and_each_photo_has_its_own(vlm, photos):
    work = AblationMeasurement.of(vlm, photos)
    drawn = [
        work.edits([one], one.sample.question, ["random tokens"])["random tokens"].parts[0].slots for one in photos
    ]
    assert [len(own) for own in drawn] == [12] * 4 and len(set(drawn)) == 4
    other = AblationMeasurement.of(vlm, photos, seed=1).edits(photos[:1], "Where?", ["random tokens"])
    assert other["random tokens"].parts[0].slots != drawn[0]


def test_references_are_known_again_by_their_pixels_and_their_size(vlm, photos):
    work = AblationMeasurement.of(vlm, photos)
    tall, wide = (Image.new("RGB", size, (255, 255, 255)) for size in ((56, 112), (112, 56)))
    work._tokens([tall, wide, tall.copy()], "Where?")
    assert len(work.known) == 2
    one = photos[0]
    assert replace(one, blank=drawn(("red", (0, 0)))).as_sample().meta != one.as_sample().meta


def test_intervals_draw_groups_and_a_guess_knows_the_axis_of_a_side_or_the_options():
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(6), 7)
    right = np.stack([np.repeat(rng.random(6) < 0.5, 7) for _ in range(4)])  # alike inside a group
    shown, _ = measure_ablation(right, np.full(42, 0.5), np.full(42, "left", dtype=object), groups, seed=3, n=200)
    row = shown.query("measure == 'accuracy' and arm == 'ordering kept'").iloc[0]
    wanted = mean_over_groups(right[2].astype(float)[:, None], groups, seed=3, n=200, bounds=(0, 1))
    assert (row["low"], row["high"]) == pytest.approx((wanted.low[0], wanted.high[0])) and row["groups"] == 6
    sample = photo(0, ("red", "green", "blue")).sample
    named = replace(sample, answer="red", options=("red", "green", "blue"))
    assert guess_of(sample) == 0.5 and guess_of(named) == 1 / 3 and np.isnan(guess_of(replace(named, options=())))


def test_what_lies_over_chance_ends_where_an_accuracy_less_chance_must():
    groups, nothing = np.repeat(np.arange(7), 2), np.full(14, "", dtype=object)
    for right, chance in ((True, 1 / 3), (False, 1 / 3), (True, 0.5)):
        told, _ = measure_ablation(np.full((4, 14), right), np.full(14, chance), nothing, groups, seed=0, n=50)
        own = told[told["relation"] == "all"].set_index(["measure", "arm"])[["value", "low", "high"]]
        for arm in ARMS:
            wanted = own.loc[("accuracy", arm)].to_numpy() - chance
            assert own.loc[("over_chance", arm)].to_numpy() == pytest.approx(wanted, abs=1e-6)
        assert own.loc[("accuracy", ARMS[0]), "high" if right else "low"] == float(right)


def test_answers_stay_with_their_photos_in_whatever_order_these_come(vlm, photos):
    rows = {}
    for own in (photos, photos[::-1]):
        found = ablate_ordering(vlm, own, batch=4, progress=False, draws=10)
        correct = found.answers.set_index(["arm", "id"])["correct"]
        rows = [[correct[arm, one.sample.id] for one in own] for arm in ARMS]
        assert found.right.tolist() == rows
