"""A cache that gives more keys back than were written shows and edits the rows that a growing cache does."""

import pytest
import tiny
import torch
from transformers import StaticCache

from interp.compat import cache_name
from interp.intervene.image_logits import ScaleImageLogits
from interp.model.hooked_vlm import HookedVLM

FAMILIES = ("tiny-llava", "tiny-qwen2_5_vl", "tiny-gemma3", "tiny-llava_next")
QUESTIONS = ("Where is the mug?", "Is the small cup on the left of the big table?")
POINTS = ("attn_logits", "attn_scores", "pattern")


def family(name):
    vlm = HookedVLM.from_pretrained(name, dtype="float32", self_check=False)
    return vlm, vlm.prepare([tiny.photo(), tiny.photo(1)], QUESTIONS, prompt="paper")


def windowed():
    """A model whose layers see fewer keys than the prompt has."""
    vlm = tiny.vlm(window=20, self_check=False)
    return vlm, tiny.inputs(vlm, 2)


MODELS = {**{name: lambda name=name: family(name) for name in FAMILIES}, "windowed": windowed}


@pytest.fixture(scope="module", params=MODELS)
def asked(request):
    return MODELS[request.param]()


def static(vlm, inputs):
    room = inputs.input_ids.shape[1] + 20
    return {cache_name(vlm.model): StaticCache(vlm.model.config.get_text_config(), max_cache_len=room)}


def close(ours, wanted):
    torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rows", ["last", "all"])
def test_rows_are_those_of_a_growing_cache(asked, rows):
    vlm, inputs = asked
    names = [f"blocks.{layer}.attn.hook_{point}" for layer in range(vlm.cfg.n_layers) for point in POINTS]
    with torch.no_grad():
        wanted, grown = vlm.run_with_cache(inputs, names_filter=names, query_rows=rows, use_cache=True)
        output, filled = vlm.run_with_cache(
            inputs, names_filter=names, query_rows=rows, use_cache=True, **static(vlm, inputs)
        )
    there = inputs.attention_mask.bool()
    close(output.logits[there], wanted.logits[there])
    seen = there[:, None, :, None] if rows == "all" else torch.ones_like(there[:, None, :1, None])
    for name in names:
        assert filled[name].shape == grown[name].shape
        close(filled[name].where(seen, 0.0), grown[name].where(seen, 0.0))


def test_an_edit_that_changes_nothing_moves_nothing_and_a_real_one_does_the_same_as_elsewhere(asked):
    vlm, inputs = asked
    there, name = inputs.attention_mask.bool(), "blocks.1.attn.hook_pattern"
    with torch.no_grad():
        plain = vlm(inputs).logits[there]
        for edit in (lambda tensor, hook: tensor * 1.0, lambda tensor, hook: tensor.flip(-1)):
            wanted = vlm.run_with_hooks(inputs, fwd_hooks=[(name, edit)], use_cache=True).logits[there]
            got = vlm.run_with_hooks(inputs, fwd_hooks=[(name, edit)], use_cache=True, **static(vlm, inputs))
            close(got.logits[there], wanted)
    assert not torch.allclose(wanted, plain, atol=1e-3)


@pytest.mark.parametrize("rows", ["last", "after_image", "generated"])
def test_generate_with_a_static_cache_says_the_same_under_an_intervention(asked, rows):
    vlm, inputs = asked
    edit = ScaleImageLogits(-5, mode="add", rows=rows)
    settings = {"max_new_tokens": 8, "min_new_tokens": 8, "do_sample": False}
    settings |= {"return_dict_in_generate": True, "output_logits": True, "disable_compile": True}

    def logits(**more):
        with vlm.intervene(edit, inputs):
            return torch.stack(vlm.model.generate(**inputs.tensors, **settings, **more).logits)

    grown, filled = logits(), logits(cache_implementation="static")
    close(filled, grown)
    with torch.no_grad():
        plain = torch.stack(vlm.model.generate(**inputs.tensors, **settings).logits)
    assert not torch.allclose(grown, plain, atol=1e-4)
