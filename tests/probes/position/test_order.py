"""Order: planted models lose what they must when image tokens are permuted, and studies resume, refuse and count."""

import json

import numpy as np
import pandas as pd
import pytest
import tiny
from broken_off import break_second
from planted_order import make_alike, slot_samples, slot_vlm, upper
from ragged import loaded
from towers_seen import tower_runs

from interp.errors import InputError, RefusedError
from interp.image.boxes import Box
from interp.intervene.image_tokens import permute_image_tokens
from interp.model.hooked_vlm import HookedVLM
from interp.objects.sample import Object, Sample
from interp.planted.build import IMAGE_TOKENS
from interp.planted.llava import build_planted, planted_scenes
from interp.zoo.tiny import TINY
from probes.__main__ import main
from probes.position.columns import FILES, NAMES
from probes.position.order import psi
from probes.position.order_answers import OrderMeasurement
from probes.position.report.order import order_findings

QUIET = {"progress": False, "prompt": "paper"}


@pytest.fixture(scope="module")
def by_slot():
    """The model whose answer is the slot alone, on a photo for each slot."""
    vlm = slot_vlm()
    return vlm, psi(vlm, slot_samples(), max_new_tokens=2, batch=32, **QUIET)


def open_samples(vlm, count):
    """Open questions to a random model, of which the first two are rightly answered, by what it says."""
    photos, questions = [tiny.photo(seed) for seed in range(count)], list(tiny.QUESTIONS[:count])
    said = vlm.generate(vlm.prepare(photos, questions, prompt="paper"), 3).texts
    gold = [*said[:2], *["nothing of it"] * (count - 2)]
    every = zip(photos, questions, gold, strict=True)
    return [Sample(str(place), own, asked, (), right) for place, (own, asked, right) in enumerate(every)]


def test_where_all_image_tokens_are_alike_nothing_is_lost_with_any_seed():
    vlm = tiny.vlm(self_check=False)
    lively = psi(vlm, open_samples(vlm, 3), max_new_tokens=3, **QUIET)
    assert lively.value("changed") > 0.3  # so that the planted change is what makes the difference
    make_alike(vlm.model)
    found = psi(vlm, open_samples(vlm, 3), max_new_tokens=3, **QUIET)
    assert found.value("accuracy") == found.value("permuted") == pytest.approx(2 / 3)
    most = 1 - 0.025 ** (1 / 3)  # no draw of the three samples differs, and as much may go unseen
    for measure, ends in {"drop": (-most, most), "changed": (0, most), "psi": (np.nan, np.nan)}.items():
        row = found.measures[found.measures["measure"] == measure].iloc[0]
        assert row["value"] == 0 and (row["low"], row["high"]) == pytest.approx(ends, nan_ok=True)
    assert found.spread() == 0
    assert "chance is not known" in found.left_out.set_index("measure").loc["psi_corrected", "why"]


def test_where_the_answer_is_the_slot_alone_what_is_lost_is_what_the_permutations_say(by_slot):
    vlm, found = by_slot
    assert found.original.all() and found.permuted.shape == (IMAGE_TOKENS, 5)
    grid = vlm.prepare(slot_samples([0])[0].image, "Where?", prompt="paper").grids[0]
    right = np.empty((IMAGE_TOKENS, 5), dtype=bool)
    for place, seed in np.ndindex(right.shape):
        order = permute_image_tokens(grid, seed).order.tolist()
        right[place, seed] = upper(order.index(place)) == upper(place)  # the slot that got this content
    assert np.array_equal(found.permuted, right)
    lost = 1 - right.mean()
    assert found.value("psi") == pytest.approx(lost) and found.value("psi_corrected") == pytest.approx(lost / 0.5)
    assert found.spread() == pytest.approx(right.mean(0).std(ddof=1))
    assert order_findings(found).summary["measures"]["spread"] == found.spread()
    low, high = found.measures.query("measure == 'psi_corrected' and relation == 'all'")[["low", "high"]].iloc[0]
    assert low < 1 < high and low > 0.5  # blind, permuted
    known = found.references().query("relation == 'all'").set_index(["reference", "measure"])["value"]
    assert known["position alone", "psi"] == 0.5 and known["position alone", "psi_corrected"] == 1
    own = [upper(slot) == "left" for slot in range(IMAGE_TOKENS)]
    assert found.value("permuted", "left") == pytest.approx(right[own].mean())


def test_rows_and_columns_lose_only_what_moves_between_them(by_slot):
    vlm, _ = by_slot
    kept = psi(vlm, slot_samples(range(0, 64, 3)), within="rows", max_new_tokens=2, **QUIET)
    assert kept.permuted.all() and kept.value("psi") == 0 == kept.value("psi_corrected")
    lost = psi(vlm, slot_samples(range(0, 64, 3)), within="columns", max_new_tokens=2, **QUIET)
    assert lost.value("psi") > 0.2


def test_a_model_that_reads_places_from_the_content_loses_nothing():
    vlm = HookedVLM.wrap(*build_planted("planted-object"), self_check=False)
    found = psi(vlm, planted_scenes("planted-object", 8), max_new_tokens=2, **QUIET)
    assert found.original.all() and found.value("psi") == found.value("changed") == 0


def test_the_tower_runs_once_for_a_batch_whatever_is_asked_of_it(by_slot):
    vlm, _ = by_slot
    with tower_runs(vlm) as calls:
        psi(vlm, slot_samples(range(8)), sides=(4, 2), batch=4, max_new_tokens=2, **QUIET)
    assert len(calls) == 2


@pytest.mark.parametrize("name", TINY)
def test_answers_are_those_of_whole_passes_in_every_family(name):
    vlm, inputs = loaded(name, 3)
    work = OrderMeasurement.of(vlm, range(2), max_new_tokens=3)
    found = work.ask(inputs)
    plain = vlm.generate(inputs, 3)
    assert [own.texts[0] for own in found] == list(plain.texts)
    for number in range(2):
        whole = vlm.generate(inputs, 3, intervention=permute_image_tokens(inputs.grids, number))
        assert [own.texts[1 + number] for own in found] == list(whole.texts)
        sure = [own.confidence[1 + number] for own in found]
        assert np.allclose(sure, whole.confidence, atol=1e-6)
    assert [own.image_tokens.tolist() for own in found] == [[len(grid)] * 3 for grid in inputs.grids]


def test_a_study_that_was_broken_off_goes_on_to_the_same_table(by_slot, tmp_path, monkeypatch):
    vlm, _ = by_slot
    samples, options = slot_samples(range(0, 64, 8)), {"sides": (2,), "batch": 4, "max_new_tokens": 2, **QUIET}
    whole = psi(vlm, samples, range(5), **options)
    calls = break_second(monkeypatch, OrderMeasurement, "ask")
    with pytest.raises(KeyboardInterrupt):
        psi(vlm, samples, range(5), out=tmp_path, **options)
    resumed = psi(vlm, samples, range(5), out=tmp_path, resume=True, **options)
    assert len(calls) == 3
    pd.testing.assert_frame_equal(resumed.answers, whole.answers)
    pd.testing.assert_frame_equal(resumed.measures, whole.measures)
    with pytest.raises(InputError, match="seeds"):
        psi(vlm, samples, range(6), out=tmp_path, resume=True, **options)


def test_pooling_makes_a_curve_by_number_of_tokens(by_slot):
    vlm, _ = by_slot
    found = psi(vlm, slot_samples(range(0, 64, 4)), sides=(4, 1), max_new_tokens=2, **QUIET)
    curve = found.compression().query("relation == 'all'")
    assert curve["image_tokens"].tolist() == [16, 1, 64] and curve["order"].tolist() == ["side 4", "side 1", "original"]
    assert curve["accuracy"].iloc[-1] == 1 and curve["accuracy"].iloc[1] == 0.5  # one token has no slot
    lines = found.plot_compression().get_lines()
    assert sorted(lines[0].get_xdata()) == [1, 16, 64]


def test_contents_of_boxes_alone_may_move(by_slot):
    vlm, _ = by_slot
    samples = [
        Sample(**{**vars(one), "objects": (Object("square", Box("square", (0, 0, 28, 14))),)})
        for one in slot_samples((0, 1, 40))
    ]
    found = psi(vlm, samples, within="boxes", max_new_tokens=2, **QUIET)
    assert found.permuted.all()  # two slots of the upper half
    outside = psi(vlm, samples, within="outside", max_new_tokens=2, **QUIET)
    assert outside.permuted[:2].all() and not outside.permuted[2].all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": []}, "at least one"),
        ({"seeds": [0, 1, 2, 3, 3, 4]}, "each once"),
        ({"seeds": range(4)}, "give at least 5"),
        ({"sides": (2, 2)}, "each once"),
        ({"sides": (9,)}, "sample 'slot-0': side=9"),
        ({"sides": (0,)}, "side=0"),
        ({"within": "tiles"}, "not known"),
        ({"within": "boxes"}, "no object of 'slot-0' has a box"),
        ({"chance": 1.0}, "chance=1.0"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"draws": 0}, "0 draws at level"),
        ({"level": 1.0}, "draws at level 1.0"),
        ({"samples": []}, "no samples"),
        ({"samples": slot_samples((3,))}, "at least two groups"),
        ({"samples": slot_samples((3, 3))}, "two samples have the id"),
    ],
    ids=str,
)
def test_what_can_not_be_asked_is_refused_before_the_first_pass(by_slot, options, message):
    vlm, _ = by_slot
    given = {"samples": slot_samples((0, 40)), **QUIET, **options}
    with tiny.passes(vlm) as passes, pytest.raises(InputError, match=message):
        psi(vlm, **given)
    assert not passes


def test_families_that_can_not_are_refused_by_name_before_the_first_pass():
    for name in ("qwen2_5_vl", "qwen3_vl"):
        vlm, _ = loaded(name, 1)
        with tiny.passes(vlm) as passes, pytest.raises(RefusedError, match=f"{name} family"):
            psi(vlm, slot_samples((0, 40)), sides=(1,), **QUIET)
        assert not passes


def test_the_command_writes_what_it_says(tmp_path, capsys):
    photo = tmp_path / "photo.png"
    tiny.photo(0).save(photo)
    where = ["order", str(photo), "Where is the mug?", "--out", str(tmp_path / "out"), "--model", "tiny-llava"]
    assert main([*where, "--seeds", "3", "--sides", "2", "1", "--max-new-tokens", "2"]) == 0
    table = pd.read_parquet(tmp_path / "out" / "order.parquet")
    assert table["order"].tolist() == ["original", "seed 0", "seed 1", "seed 2", "side 2", "side 1"]
    assert table["image_tokens"].tolist() == [16, 16, 16, 16, 4, 1] and not table.isna().any().any()
    assert set(table) <= set(NAMES) and {path.name for path in (tmp_path / "out").iterdir()} == set(FILES["order"])
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["answer"] == table["text"][0] and summary["settings"]["seeds"] == [0, 1, 2]
    same = np.mean([text == table["text"][0] for text in table["text"][1:4]])
    assert summary["agreeing"] == same and f"{same:.0%} of 3 permutations of 16" in capsys.readouterr().out
    assert main([*where, "--seeds", "0"]) != 0
