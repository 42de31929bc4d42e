"""What is no list of pairs, samples, words, arms or positions is refused by name, by every tool, before a pass."""

from dataclasses import replace
from functools import partial, wraps

import numpy as np
import pytest
import torch
from interchange_pairs import noisy_pair

from interp.errors import InputError
from interp.image.boxes import Box
from interp.model.hooked_vlm import HookedVLM
from interp.objects.sample import Object
from interp.stats.draws import check_draws
from probes.mechanisms.ablation.ordering import ablate_ordering
from probes.mechanisms.ablation.swap import swap_under_ablation
from probes.mechanisms.amplify.study import amplify
from probes.mechanisms.dual.study import dual_mechanisms
from probes.mechanisms.ids.mirror_swap import mirror_swap
from probes.mechanisms.ids.spatial_ids import spatial_ids
from probes.mechanisms.ids.steer_ids import steer_ids
from probes.mechanisms.interchange.measurement import InterchangeMeasurement
from probes.mechanisms.interchange.sweep import interchange
from probes.mechanisms.knockout.study import study_knockout
from probes.mechanisms.lens.study import image_lens
from probes.mechanisms.probe.axis import axis_probe
from probes.mechanisms.probe.position import position_probe
from probes.mechanisms.scenes.both_right import keep_both_right
from probes.mechanisms.scenes.pairs import Pair
from probes.mechanisms.scenes.photo_pairs import mirrored_pairs

DIRECTIONS = {axis: np.eye(32)[:, :2] for axis in ("horizontal", "vertical")}
OF_PAIRS = (interchange, swap_under_ablation, mirror_swap, dual_mechanisms, keep_both_right)
OF_SAMPLES = (position_probe, axis_probe, image_lens, spatial_ids, study_knockout, ablate_ordering)


@pytest.fixture
def vlm(monkeypatch):
    """A model that can not be run."""
    found = HookedVLM.from_pretrained("tiny-llava", self_check=False)

    @wraps(found.model.forward)
    def run(*args, **kwargs):
        raise AssertionError("a pass was made")

    monkeypatch.setattr(found.model, "forward", run)
    return found


@pytest.mark.parametrize("tool", OF_PAIRS, ids=lambda tool: tool.__name__)
def test_what_is_no_list_of_pairs_is_refused(vlm, tool):
    pair = noisy_pair()
    for given in (None, pair, iter([pair]), "pairs", [], [pair, pair.clean], [1], [pair, None]):
        with pytest.raises(InputError, match="pairs|is no Pair"):
            tool(vlm, given, progress=False)
    with pytest.raises(InputError, match="two samples have the id 'pair 0'"):
        tool(vlm, [pair, pair], progress=False)


@pytest.mark.parametrize("tool", OF_SAMPLES, ids=lambda tool: tool.__name__)
def test_what_is_no_list_of_samples_is_refused(vlm, tool):
    for given in (None, noisy_pair().clean, iter([noisy_pair().clean]), "samples", [1, 2], [None]):
        with pytest.raises(InputError, match=r"the (samples|photos) are a|is a (str|int|NoneType)|is no OrderedPhoto"):
            tool(vlm, given, progress=False)


def test_tools_that_are_given_more_refuse_them_too(vlm):
    for given in (None, noisy_pair().clean, iter([noisy_pair().clean]), "samples", [1, 2], [None]):
        for tool in (
            lambda given: amplify(vlm, given, DIRECTIONS, progress=False),
            lambda given: steer_ids(vlm, given, None, progress=False),
            mirrored_pairs,
        ):
            with pytest.raises(InputError, match=r"the samples are a|is a (str|int|NoneType)"):
                tool(given)
    with pytest.raises(InputError, match="found=None is no SpatialIDs"):
        steer_ids(vlm, [noisy_pair().clean], None, progress=False)


def test_the_clean_outcome_is_the_answer_of_the_clean_sample():
    pair = noisy_pair()
    assert replace(pair, outcomes={"clean": "L", "place": "r"}).outcomes["clean"] == "L"
    with pytest.raises(InputError, match="is answered 'l', and its outcome 'clean' is 'a'"):
        Pair(pair.clean, pair.counterfactual, {"clean": "a", "place": "r"}, pair.axis)


@pytest.mark.parametrize("given", [np.array, torch.tensor, tuple, iter])
def test_positions_and_slots_come_in_any_kind_of_list(vlm, given):
    work = InterchangeMeasurement.of(vlm, [noisy_pair()], given([-1, -2]), control=None, slots=given([2, 0]))
    assert (work.positions, work.slots) == (((-1, -2), (-1, -2)), (0, 2))
    assert work.recorded()["positions"] == [[-1, -2], [-1, -2]]
    both = InterchangeMeasurement.of(vlm, [noisy_pair()], given([[-1, -2], [-1, -3]]), control="last")
    assert both.positions == ((-1, -2), (-1, -3))


@pytest.mark.parametrize("given", [5, None, 1.5, (1.5,), (True,), torch.tensor([True, False]), [[True], [False]]])
def test_what_is_no_position_is_refused(vlm, given):
    with pytest.raises(InputError, match="are not understood"):
        InterchangeMeasurement.of(vlm, [noisy_pair()], given)


@pytest.mark.parametrize("given", [5, 1.5, torch.tensor([True, False]), np.array([True, False])], ids=str)
def test_what_is_no_slot_is_refused(vlm, given):
    with pytest.raises(InputError, match="slots="):
        InterchangeMeasurement.of(vlm, [noisy_pair()], slots=given)


def test_a_position_that_is_named_twice_is_called_so(vlm):
    with pytest.raises(InputError, match="positions name one of its clean prompt twice"):
        interchange(vlm, [noisy_pair(0), noisy_pair(1)], (-1, -1), progress=False)


def test_pairs_that_are_one_question_about_one_photo_are_refused(vlm):
    asked = [replace(noisy_pair(number), counterfactual=noisy_pair(number).clean) for number in (0, 1)]
    named = [
        replace(pair, clean=replace(pair.clean, question="Where is the mug?"), counterfactual=replace(pair.clean,
        question="Where is the mug?")) for pair in asked
    ]  # fmt: skip
    for tool in (
        *(partial(interchange, positions=name) for name in ("last", "all_image", "outer_strip")),
        mirror_swap,
    ):
        with pytest.raises(InputError, match="'pair 0' asks one question about one photo on both sides"):
            tool(vlm, pairs=named, progress=False)
    other = [replace(pair, counterfactual=replace(pair.counterfactual, question="Where is it not?")) for pair in asked]
    InterchangeMeasurement.of(vlm, other, "last").check([pair.clean for pair in other], progress=False)


def test_objects_that_leave_no_background_are_named(vlm):
    whole = Box("mug", (0, 0, 48, 96)), Box("dog", (48, 0, 96, 96))
    pairs = []
    for pair in (noisy_pair(0), noisy_pair(1)):
        things = [tuple(map(Object, ("mug", "dog"), own)) for own in (whole, whole[::-1])]
        sides = (
            replace(side, objects=own) for side, own in zip((pair.clean, pair.counterfactual), things, strict=True)
        )
        pairs.append(replace(pair, **dict(zip(("clean", "counterfactual"), sides, strict=True))))
    with pytest.raises(InputError, match="pair 'pair 0': .* empty"):
        interchange(vlm, pairs, "background", progress=False)


@pytest.mark.parametrize(
    ("tool", "settings", "says"),
    [
        (study_knockout, {"arms": None}, "arms=None is no list"),
        (study_knockout, {"windows": {1: (0,)}}, "1 can not name a window"),
        (study_knockout, {"windows": {"": (0,)}}, "'' can not name a window"),
        (study_knockout, {"windows": {"none": (0,)}}, "'none' can not name a window"),
        (image_lens, {"words": None}, "words=None is no list"),
        (image_lens, {"words": ("l", "L")}, "name each once"),
        (image_lens, {"top": 10**6}, "top=1000000"),
        (image_lens, {"at_least": "x"}, "at_least='x'"),
        (image_lens, {"at_least": True}, "at_least=True"),
        (position_probe, {"sites": None}, "sites=None is no list"),
        (position_probe, {"at_least": "x"}, "at_least='x'"),
        (position_probe, {"seed": 2**32}, "is no seed"),
        (interchange, {"seed": 2**32}, "is no seed"),
        (interchange, {"draws": 1.5}, "1.5 draws"),
        (interchange, {"draws": "many"}, "'many' draws"),
        (interchange, {"draws": True}, "True draws"),
        (interchange, {"level": "high"}, "level 'high'"),
        (dual_mechanisms, {"tools": None}, "tools=None is no list"),
    ],
)
def test_settings_that_mean_nothing_are_refused(vlm, tool, settings, says):
    pairs = [noisy_pair(0), noisy_pair(1)]
    given = pairs if tool in OF_PAIRS else [pair.clean for pair in pairs]
    with pytest.raises(InputError, match=says):
        tool(vlm, given, progress=False, **settings)


def test_numpy_numbers_are_numbers_too():
    check_draws(np.int64(5), np.float32(0.9), np.int64(2**31))
