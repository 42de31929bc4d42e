"""Interchange against the values recorded from the authors' code: last token, object swap and strip swap."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from golden import GOLDEN, golden, golden_llava, layout
from in_a_row import ACROSS, reversed_pair, scene
from made_up import square_grid

from interp.objects.sample import Sample
from interp.prompt.inputs import VLMInputs
from probes.mechanisms.interchange.measurement import InterchangeMeasurement
from probes.mechanisms.scenes.pairs import Pair

TOLERANCE = 1e-5
CASES = GOLDEN / "interchange" / "cases.json"
TAGS = [case["tag"] for case in json.loads(CASES.read_text())] if CASES.exists() else ["none"]


@dataclass(frozen=True, eq=False)
class Recorded(InterchangeMeasurement):
    """The measurement on recorded ids and photos, where no tokenizer of ours is asked."""

    batches: Any = None
    words: Any = None

    def prepared(self, pairs):
        return self.batches

    def ids_of(self, pair):
        return self.words[pair.id]


def inputs_of(vlm, ids, photos):
    ids = torch.from_numpy(ids)
    pixels = (torch.from_numpy(photos).permute(0, 3, 1, 2) / 255 - 0.5) / 0.25
    tensors = {"input_ids": ids, "pixel_values": pixels, "attention_mask": torch.ones_like(ids)}
    layouts = tuple(layout(row, vlm.model.config.image_token_id) for row in ids.tolist())
    return VLMInputs(tensors, layouts, (square_grid((32, 32), 8),) * len(ids), (), ("",) * len(ids), "raw")


def pairs_of(case):
    """The pairs of a case; their outcomes in the order in which the words were recorded."""
    found = []
    for number, names in enumerate(case["tuples"]):
        names = [name.lower() for name in names]
        if len(names) == 3:
            first = case["direction"] in ("left", "above")
            pair = reversed_pair(tuple(names if first else names[::-1]), case["direction"], name=str(number))
            outcomes = dict(zip(("clean", "middle", "place"), names, strict=True))
            found.append(Pair(pair.clean, pair.counterfactual, outcomes, pair.axis))
        else:
            image, _ = scene(names[:3], ACROSS[case["direction"]], n=8, side=2, gap=1, px=4)
            sides = [Sample(str(number), image, "?", (), names[place]) for place in (0, 3)]
            outcomes = dict(zip(("clean", "middle", "place", "content", "fifth"), names, strict=True))
            found.append(Pair(*sides, outcomes, ACROSS[case["direction"]]))
    return found


@pytest.mark.parametrize("tag", TAGS)
def test_probabilities_at_every_slot_are_the_recorded_ones(tag):
    cases = {case["tag"]: case for case in json.loads((golden("interchange") / "cases.json").read_text())}
    values, case = np.load(golden("interchange") / "cases.npz"), cases[tag]
    vlm, _ = golden_llava()
    pairs = pairs_of(case)
    sides = [inputs_of(vlm, values[f"{tag}.{side}_ids"], values[f"{tag}.{side}_rgb"]) for side in ("clean", "cf")]
    if not tag.startswith("last"):
        for pair, clean, other in zip(pairs, values[f"{tag}.clean_rgb"], values[f"{tag}.cf_rgb"], strict=True):
            assert np.array_equal(clean, np.array(pair.clean.image))
            assert np.array_equal(other, np.array(pair.counterfactual.image))
    plain = InterchangeMeasurement.of(vlm, pairs, tag.rpartition("_")[0], control=None)
    words = {pair.id: own.tolist() for pair, own in zip(pairs, values[f"{tag}.label_ids"], strict=True)}
    work = Recorded(**{**vars(plain), "batches": tuple(sides), "words": words})
    (own,) = work.sets_of(pairs[:1], *sides).values() if len(pairs) == 1 else [work.sets_of(pairs, *sides)["patched"]]
    assert own[0].target.tolist() == case["clean_positions"] and own[0].source.tolist() == case["cf_positions"]
    found = np.array([[row["p_patched"] for row in rows] for rows in work.measure(pairs)])  # pair outcome slot
    recorded = values[f"{tag}.result"][:, :, 0].transpose(0, 2, 1)
    assert np.abs(found - recorded).max() < TOLERANCE
    assert np.ptp(recorded, axis=2).max() > 100 * TOLERANCE
