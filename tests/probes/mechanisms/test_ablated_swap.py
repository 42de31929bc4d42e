"""Swap under ablation: whole runs patched by hand say the same, its ends are what they must be, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch

from interp import Chain, HookedVLM, Patch, slot_point
from interp.errors import InputError
from probes.__main__ import main
from probes.mechanisms.ablation.measurement import ABLATED, AblationMeasurement
from probes.mechanisms.ablation.ordered_photos import photo_of_line
from probes.mechanisms.ablation.report import ablated_swap_findings
from probes.mechanisms.ablation.swap import swap_under_ablation
from probes.mechanisms.interchange.measurement import InterchangeMeasurement, summed
from probes.mechanisms.scenes.geometry import geometry_of
from probes.mechanisms.scenes.line_pairs import line_pairs, setting_of


@pytest.fixture(scope="module")
def vlm():
    return HookedVLM.from_pretrained("shapes-vlm", self_check=False)


@pytest.fixture(scope="module")
def pairs(vlm):
    given = {"form": "relation", "n": 2, "directions": ("left", "above")}
    return line_pairs(setting_of("known"), geometry_of(vlm), **given)


@pytest.fixture(scope="module")
def found(vlm, pairs):
    return swap_under_ablation(vlm, pairs, slots=(0, 3, 6, vlm.cfg.n_layers), batch=3, progress=False, draws=50)


def test_a_line_has_its_items_its_middle_and_each_item_alone_at_its_place(vlm, pairs):
    sample = pairs[0].clean
    one = photo_of_line(sample, vlm.family.grid(sample.image.size, vlm.processor, vlm.model.config))
    assert one.middle == one.items[1] and [len(own) for own in one.items] == [4, 4, 4]
    pictures = [np.asarray(image).astype(int) for image in (sample.image.convert("RGB"), *one.placed, one.blank)]
    whole, *alone, blank = pictures
    assert (sum(image - blank for image in alone) + blank == whole).all()
    assert (np.asarray(one.placed[1]) == np.asarray(one.centred[1].convert("RGB"))).all()
    with pytest.raises(InputError, match="no .* in its meta"):
        photo_of_line(replace(sample, meta={}), None)


def test_it_equals_whole_runs_ablated_and_then_patched(vlm, pairs, found):
    grid = vlm.family.grid(pairs[0].clean.image.size, vlm.processor, vlm.model.config)
    for place, pair in list(enumerate(pairs))[::3]:
        inner = InterchangeMeasurement.of(vlm, [pair], "object", control=None)
        here, there = inner.prepared([pair])
        own = inner.sets_of([pair], here, there)["patched"][0]
        photos = [photo_of_line(side, grid) for side in (pair.clean, pair.counterfactual)]
        clean, other = (AblationMeasurement.of(vlm, [one]).edits([one], one.sample.question)[ABLATED] for one in photos)
        for number, slot in enumerate(found.slots):
            name = slot_point(slot, vlm.cfg.n_layers)
            with torch.no_grad():
                _, cache = vlm.run_with_cache(there, names_filter=name, intervention=other)
                patch = Patch(name, (tuple(own.target.tolist()),), (cache[name][0, own.source],))
                logits = vlm.run_with_hooks(here, intervention=Chain((clean, patch))).logits[0, -1].float()
            wanted = summed(logits, inner.ids_of(pair))
            assert np.allclose(found.p_patched[place, number], wanted, atol=1e-5)


def test_at_the_first_slot_both_runs_hold_the_same_contents_and_at_the_last_it_is_too_late(vlm, pairs, found):
    assert np.allclose(found.p_patched[:, 0], found.p_clean, atol=1e-6)
    assert np.allclose(found.p_patched[:, -1], found.p_clean, atol=1e-6)
    kept = swap_under_ablation(
        vlm, pairs, ordering="kept", slots=(0, 3), control=None, batch=4, progress=False, draws=20
    )
    assert np.abs(kept.p_patched[:, 0] - kept.p_clean).max() > 0.05, "where order is kept, it moves with the tokens"
    assert kept.settings["ordering"] == "kept" and found.settings["ordering"] == "removed"


def test_what_can_not_be_swapped_is_refused_before_the_first_pass(vlm, pairs):
    plain = [replace(pair, clean=replace(pair.clean, meta={})) for pair in pairs]
    with tiny.passes(vlm) as ran:
        for given, change, says in (
            (pairs, {"positions": "last"}, "name image tokens"),
            (pairs, {"control": "words"}, "name image tokens"),
            (pairs, {"ordering": "lost"}, "ordering='lost'"),
            (plain, {}, "as lines of items have"),
            (pairs[:1], {}, "at least two groups"),
        ):
            with pytest.raises(InputError, match=says):
                swap_under_ablation(vlm, given, progress=False, **change)
        assert not ran


def test_the_command_asks_all_scenes_and_writes_its_page(tmp_path, capsys):
    assert main(["ablate", "--pairs", "1", "--out", str(tmp_path / "a")]) == 0
    assert (tmp_path / "a" / "report.html").exists()
    said = capsys.readouterr().out
    assert "of 4 questions (chance 50.0 %)" in said and "right in" in said
    assert main(["ablate", "--pairs", "0", "--out", str(tmp_path / "b")]) == 2
    assert main(["ablate", "--ordering", "kept", "--out", str(tmp_path / "b")]) == 2


def test_the_page_says_what_both_runs_have_lost(found):
    page = ablated_swap_findings(found)
    assert page.sentences[0].startswith("Both runs are without the order of their items. ")
    assert page.summary["ordering"] == "removed" and "few and partly luck" in page.cautions[0] and page.sections()
