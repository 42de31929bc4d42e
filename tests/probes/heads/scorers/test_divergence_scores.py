"""Divergence finds the head that speaks of what the photo shows, and its distances are what they are called."""

from functools import cache

import numpy as np
import pytest
import tiny
from looking import FAST, planted_vlm, ranked, scenes
from PIL import Image

from interp.errors import InputError
from interp.objects.sample import Sample
from interp.planted.llava import OBJECT_HEAD
from probes.heads.activations.z_rows import last_z, z_at
from probes.heads.scorers.divergence import DivergenceMeasurement, distances, divergence_scores


@cache
def found():
    return divergence_scores(planted_vlm(), scenes(), **FAST)


@pytest.mark.parametrize("name", ["divergence", "divergence_relative"])
def test_the_head_that_speaks_of_the_photo_is_first_and_no_other_moves(name):
    own = found()[name]
    assert ranked(own.of())[0] == OBJECT_HEAD and own.p_any[0][OBJECT_HEAD] < 0.05
    assert own.of()[OBJECT_HEAD] > 0.1 > own.null[0][OBJECT_HEAD]
    rest = own.of().copy()
    rest[OBJECT_HEAD] = 0
    assert rest.max() < 0.01


def test_three_distances_are_given():
    assert set(found()) == {"divergence", "divergence_relative", "divergence_cosine"}
    assert found()["divergence"].settings["blanks"] == ["grey", "black"]


def test_distances_are_what_they_are_called():
    one = np.array([[3.0, 4.0], [1.0, 0.0], [0.0, 0.0], [2.0, 0.0]], np.float32)
    other = np.array([[3.0, 4.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]], np.float32)
    own = distances(one, other)
    np.testing.assert_allclose(own["distance"], [0, np.sqrt(2), 0, 2])
    np.testing.assert_allclose(own["relative"], [0, np.sqrt(2), 0, 2])
    np.testing.assert_allclose(own["cosine"], [0, 1, np.nan, np.nan], atol=1e-12)
    np.testing.assert_allclose(distances(7 * one, 7 * other)["relative"], own["relative"])
    other[2] = 1e-20  # beside the others it is nothing
    np.testing.assert_array_equal(distances(one, other)["relative"][2], 0)


def test_numbers_are_those_of_three_runs():
    vlm = tiny.vlm(self_check=False)
    samples = [Sample(f"s{n}", tiny.photo(n), asked, (), "left") for n, asked in enumerate(tiny.QUESTIONS)]
    rows = [own for (own,) in DivergenceMeasurement(vlm, ("white", "black"))(samples)]
    photos = [[one.image for one in samples], *([Image.new("RGB", (80, 60), c)] * 3 for c in ("white", "black"))]
    z = []
    for images in photos:
        inputs = vlm.prepare(images, [one.question for one in samples])
        _, cache = vlm.run_with_cache(inputs, names_filter=[f"blocks.{n}.attn.hook_z" for n in range(3)])
        z.append(np.stack([cache[f"blocks.{n}.attn.hook_z"][:, -1].numpy() for n in range(3)], axis=1))
    for place, row in enumerate(rows):
        for layer in range(3):
            for head in range(4):
                seen, blank, second = (own[place, layer, head] for own in z)
                assert row["distance"][4 * layer + head] == pytest.approx(np.linalg.norm(seen - blank), abs=1e-5)
                null = row["distance_blank"][4 * layer + head]
                assert null == pytest.approx(np.linalg.norm(blank - second), abs=1e-5)


def test_z_is_read_at_each_sample_s_own_places():
    vlm = tiny.vlm(self_check=False)
    inputs = tiny.inputs(vlm, 3)
    length = inputs.input_ids.shape[1]
    found = z_at(vlm, inputs, [[length - 1], [length - 3, length - 2], []])
    assert [own.shape for own in found] == [(3, 1, 4, 8), (3, 2, 4, 8), (3, 0, 4, 8)]
    _, cache = vlm.run_with_cache(inputs, names_filter="blocks.1.attn.hook_z")
    np.testing.assert_allclose(found[1][1], cache["blocks.1.attn.hook_z"][1, -3:-1].numpy(), atol=1e-6)
    np.testing.assert_allclose(last_z(vlm, inputs)[0], found[0][:, 0], atol=1e-6)


SAME = (("grey", "grey"), ("grey", "#808080"))
NONE = (("grey",), ("grey", "no colour"), "grey", (1, 2))


@pytest.mark.parametrize("blanks", [*SAME, *NONE])
def test_blanks_that_are_no_two_colours_are_refused(blanks):
    with pytest.raises(InputError, match="give two different ones"):
        DivergenceMeasurement(planted_vlm(), blanks)
