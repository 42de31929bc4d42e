"""Who runs another batch than the one that an intervention was made for is told so, before anything is computed."""

from dataclasses import replace

import pytest
import tiny
import torch
from towers_seen import tower_runs

from interp.errors import HookError
from interp.intervene.amplification import AmplifyImageTokens
from interp.intervene.base import Chain, PerSample, Untouched
from interp.intervene.image_logits import ScaleImageLogits
from interp.intervene.image_replacement import ReplaceImageTokens
from interp.intervene.image_tokens import ScaleImageNorms, permute_image_tokens
from interp.intervene.knockout import Knockout
from interp.intervene.patch import Patch
from interp.intervene.steer import Steer
from interp.model.features import ImageFeatures
from interp.model.kept_run import KeptRun
from interp.model.prefix import Prefix

MUG, DOG = "Where is the mug?", "Where is the dog?"
LONG = "Where is the red mug in relation to the table?"
PRE = "blocks.1.hook_resid_pre"


@pytest.fixture(scope="module")
def vlm():
    return tiny.vlm()


def asked(vlm, *questions, seed=0):
    return vlm.prepare([tiny.photo(seed + place) for place in range(len(questions))], list(questions))


def of_samples(vlm, inputs):
    """Interventions that hold something for each of two samples."""
    width, count = vlm.cfg.d_model, len(inputs.layouts[0].image_positions)
    patch = Patch(PRE, "last", torch.ones(2, width))
    tokens = [torch.full((count, width), float(own)) for own in (1, 2)]
    return {
        "patch": patch,
        "steer at positions of each": Steer(torch.ones(width), 1, positions=((-1,), (-2,))),
        "one each": PerSample((ScaleImageLogits(0.5), ScaleImageLogits(2.0))),
        "photos of each": PerSample(tuple(map(ReplaceImageTokens, tokens))),
        "in a chain": Chain((ScaleImageLogits(0.5), patch)),
        "one of each patch": PerSample(tuple(patch.of_each(2))),
    }


def of_any(vlm, inputs):
    """Interventions that do the same with every sample."""
    width = vlm.cfg.d_model
    return {
        "logits": ScaleImageLogits(0.5),
        "knockout": Knockout(),
        "steer": Steer(torch.ones(width), 1),
        "norms": ScaleImageNorms(scale=0.5),
        "mean": ReplaceImageTokens(),
        "amplified": AmplifyImageTokens(torch.ones(width, 1), 2),
        "chain": Chain((ScaleImageLogits(0.5), ScaleImageNorms(scale=0.5))),
        "the same for each": PerSample((ScaleImageLogits(0.5),) * 2),
    }


def test_what_holds_something_of_each_sample_meets_no_other_prompts_photos_or_places(vlm):
    inputs = asked(vlm, MUG, LONG)
    others = {
        "words": asked(vlm, DOG, LONG),
        "photos": asked(vlm, MUG, LONG, seed=7),
        "places": asked(vlm, LONG, MUG),
        "fewer": asked(vlm, LONG),
        "length": asked(vlm, MUG, MUG),
    }
    for name, edit in of_samples(vlm, inputs).items():
        with torch.no_grad(), vlm.intervene(edit, inputs):
            vlm(inputs)
            for differs, other in others.items():
                for run in (vlm, lambda given: vlm.generate(given, 2), vlm.run_with_cache, vlm.run_with_hooks):
                    with tower_runs(vlm) as calls, pytest.raises(HookError, match="inputs that you run"):
                        run(other)
                    assert not calls, (name, differs)


def test_what_does_the_same_with_all_meets_others_with_the_same_places_and_gives_what_it_gives_them_alone(vlm):
    inputs, other, turned = asked(vlm, MUG, LONG), asked(vlm, DOG, LONG, seed=7), asked(vlm, LONG, MUG)
    assert inputs.input_ids.shape == turned.input_ids.shape
    for name, edit in of_any(vlm, inputs).items():
        with torch.no_grad():
            wanted = vlm.run_with_hooks(other, intervention=edit).logits
            with vlm.intervene(edit, inputs):
                assert torch.equal(vlm(other).logits, wanted), name
                assert torch.equal(vlm.model(**other.tensors, use_cache=False).logits, wanted), name
                for run in (lambda: vlm(turned), lambda: vlm.model(**turned.tensors)):
                    with pytest.raises(HookError, match="2 samples, and .* at other places"):
                        run()


def test_a_model_that_is_called_with_tensors_hears_of_other_words_and_other_padding(vlm):
    inputs = asked(vlm, MUG, LONG)
    for edit in of_samples(vlm, inputs).values():
        with torch.no_grad(), vlm.intervene(edit, inputs), tower_runs(vlm) as calls:
            for other in (asked(vlm, DOG, LONG), asked(vlm, LONG, MUG)):
                with pytest.raises(HookError, match="was made for 2 samples, and these"):
                    vlm.model(**other.tensors)
                assert not calls
                with pytest.raises(HookError, match="was made for 2 samples, and these"):
                    vlm.model.generate(**other.tensors, max_new_tokens=2)
                calls.clear()  # transformers' generate looks at photos before it asks the model
            copied = {name: value.clone() for name, value in inputs.tensors.items()}
            assert torch.equal(vlm.model(**copied, use_cache=False).logits, vlm(inputs).logits)


def test_the_batch_itself_runs_in_every_way(vlm):
    inputs = asked(vlm, MUG, LONG)
    edit = of_samples(vlm, inputs)["patch"]
    features = ImageFeatures.capture(vlm, inputs)
    moved = replace(inputs, tensors={name: value.clone() for name, value in inputs.tensors.items()})
    with torch.no_grad(), vlm.intervene(edit, inputs):
        wanted = vlm(inputs).logits
        assert torch.equal(vlm(moved).logits, wanted)
        assert vlm.generate(moved, 3).texts == vlm.generate(inputs, 3).texts
        with features.under() as blind:
            assert torch.equal(vlm(blind).logits, wanted)
        vlm.model.generate(**inputs.tensors, max_new_tokens=3, num_beams=2, do_sample=False)
    with torch.no_grad():
        assert torch.equal(features.forward(intervention=edit).logits, wanted)
        assert torch.allclose(Prefix(vlm, inputs, features=features).step([edit]).logits[0], wanted[:, -1], atol=1e-4)
        onward = KeptRun.capture(vlm, inputs).onward(1, edit.hooks(vlm.cfg, inputs.layouts))
        assert torch.allclose(onward, wanted[:, -1].float(), atol=1e-5)
    single = asked(vlm, MUG)
    with torch.no_grad(), vlm.intervene(edit.of_each(2)[0], single):
        twice = vlm.prepare([tiny.photo(0)] * 2, [MUG] * 2)
        assert torch.allclose(vlm(twice).logits, vlm(single).logits.expand(2, -1, -1), atol=1e-4)


def test_features_of_photos_are_given_to_no_other_batch(vlm):
    inputs = asked(vlm, MUG, LONG)
    features = ImageFeatures.capture(vlm, inputs)
    for other in (asked(vlm, DOG, LONG), asked(vlm, MUG, LONG, seed=7), asked(vlm, LONG, MUG)):
        with torch.no_grad(), features.given(), pytest.raises(HookError, match="inputs that you run"):
            vlm(other)
    words = asked(vlm, DOG, LONG)
    with torch.no_grad(), features.given_to(words) as blind:
        given = vlm(blind).logits
    assert torch.equal(given, vlm(words).logits)


def test_the_guard_goes_with_the_hooks(vlm):
    inputs, other = asked(vlm, MUG, LONG), asked(vlm, DOG, LONG)
    plain = vlm(other).logits
    patch = of_samples(vlm, inputs)["patch"]
    with vlm.hooks(intervention=patch, inputs=inputs, reset_hooks_end=False):
        pass
    with pytest.raises(HookError, match="inputs that you run"):
        vlm(other)
    vlm.reset_hooks()
    with vlm.intervene(Untouched(), inputs), vlm.intervene(Patch(PRE, "last", torch.ones(2, vlm.cfg.d_model)), other):
        vlm(other)
    assert torch.equal(vlm(other).logits, plain)


def test_a_photo_of_another_form_is_refused_where_its_tokens_stand_at_the_same_positions():
    from interp.model.hooked_vlm import HookedVLM

    vlm = HookedVLM.from_pretrained("tiny-qwen2_5_vl", self_check=False)
    wide, high = (vlm.prepare(tiny.photo(0, size), MUG) for size in ((112, 56), (56, 112)))
    assert torch.equal(wide.input_ids, high.input_ids)
    edit = PerSample((permute_image_tokens(wide.grids[0], 0, within="rows"),))
    with torch.no_grad(), vlm.intervene(Chain((edit, Patch(PRE, "last", torch.ones(1, vlm.cfg.d_model)))), wide):
        with pytest.raises(HookError, match="differ"):
            vlm(high)
