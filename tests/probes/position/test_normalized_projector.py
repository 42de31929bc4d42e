"""Normalising projectors: equal to the recorded values, of one length, trainable in a LLaVA, and loaded as saved."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import adaptive_avg_pool2d
from transformers import CLIPVisionConfig, CLIPVisionModel, LlavaForConditionalGeneration

from interp import HookedVLM
from interp.errors import InputError, ModelError
from interp.model.loading import load_model
from interp.zoo.tiny import TINY, build_tiny
from probes.position.normalized_projector import (
    CLIP,
    PAPER_FEATURES,
    SCALE,
    MultilayerProjector,
    NormalizedProjector,
    constant_norm,
    load_normalized,
    save_normalized,
    shorten,
    with_normalized_projector,
)

LENGTH = CLIP * SCALE
LAYERS = (1, 2)


@pytest.fixture
def golden(repo):
    folder = repo.parent / "shared" / "golden"
    if not folder.is_dir():
        pytest.skip("needs the recorded values, which are absent")
    return folder


@pytest.fixture
def llava():
    return build_tiny("tiny-llava")


def filled(projector, arrays, start):
    """A projector with recorded weights, and its output for the recorded input."""
    weights = {name.removeprefix(start): torch.tensor(arrays[name]) for name in arrays.files if name.startswith(start)}
    projector.load_state_dict(weights)
    return projector.double()(torch.tensor(arrays["x"]).double()).detach()


@pytest.mark.parametrize("tag", ["normalized", "normalized_w", "normalized_small_w"])
def test_the_projector_gives_the_recorded_values(golden, tag):
    arrays = np.load(golden / "projector" / "cases.npz")
    found = filled(NormalizedProjector(12, 16), arrays, f"{tag}.sd.")
    assert np.abs(found.numpy() - arrays[f"{tag}.y"]).max() < 2e-6
    assert np.abs(found.norm(dim=-1).numpy() - arrays[f"{tag}.y_norm"]).max() < 2e-6
    assert (arrays[f"{tag}.y_norm"].min() < LENGTH - 0.01) == (tag == "normalized_small_w")


def test_means_over_neighbours_behind_the_block_are_shorter_as_recorded(golden):
    arrays = np.load(golden / "projector" / "cases.npz")
    tokens = filled(NormalizedProjector(12, 16), arrays, "normalized_pool2.sd.proj.")
    square = tokens.transpose(1, 2).unflatten(2, (4, 4))
    pooled = adaptive_avg_pool2d(square, 2).flatten(2).transpose(1, 2)
    assert np.abs(pooled.numpy() - arrays["normalized_pool2.y"]).max() < 2e-6
    assert pooled.norm(dim=-1).max() < LENGTH and tokens.norm(dim=-1).min() == pytest.approx(LENGTH)


def test_several_layers_give_the_recorded_features_and_tokens(golden):
    folder = golden / "projector"
    recorded, weights = np.load(folder / "multilayer.npz"), load_file(folder / "multilayer_weights.safetensors")
    config = CLIPVisionConfig(**json.loads((folder / "multilayer_clip_config.json").read_text()))
    tower = CLIPVisionModel(config).eval()
    own = {name.removeprefix("clip."): value for name, value in weights.items() if name.startswith("clip.")}
    wanted = list(tower.state_dict())
    if not any(name.startswith("vision_model.") for name in wanted):
        own = {name.removeprefix("vision_model."): value for name, value in own.items()}
    tower.load_state_dict({name: own[name] for name in wanted if name in own}, strict="position_ids" not in str(wanted))
    (norm,) = (part for name, part in tower.named_modules() if name.endswith("post_layernorm"))
    projector = MultilayerProjector(norm, 16, 4, 32)
    start = "projector."
    projector.load_state_dict(
        {name.removeprefix(start): value for name, value in weights.items() if name.startswith(start)}
    )
    pixels = load_file(golden / "tiny" / "inputs.safetensors")["pixel_values"]
    with torch.no_grad():
        states = tower(pixels, output_hidden_states=True).hidden_states
        side_by_side = torch.cat([states[layer][:, 1:] for layer in PAPER_FEATURES], dim=-1)
        assert np.abs(projector.features(side_by_side).numpy() - recorded["concat"]).max() < 2e-5
        assert np.abs(projector(side_by_side).numpy() - recorded["encode"]).max() < 2e-5
    assert np.abs(states[-2][:, 1:].detach().numpy() - recorded["baseline_hidden_minus2"]).max() < 2e-5


def test_a_llava_with_the_block_gives_the_recorded_tokens_and_logits(golden):
    recorded = np.load(golden / "projector" / "tiny_llava_normalized.npz")
    inputs = load_file(golden / "tiny" / "inputs.safetensors")
    model = LlavaForConditionalGeneration.from_pretrained(golden / "tiny" / "tiny_llava").eval()
    with torch.no_grad():
        model = with_normalized_projector(model)
        tokens = model.model.get_image_features(inputs["pixel_values"], vision_feature_layer=-2).pooler_output
        logits = model(**inputs).logits[:, -1]
    assert np.abs(torch.stack(list(tokens)).numpy() - recorded["encode"]).max() < 2e-5
    assert np.abs(logits.numpy() - recorded["logits_last"]).max() < 1e-4


def test_the_projector_is_that_of_a_loop_over_tokens():
    torch.manual_seed(0)
    projector = NormalizedProjector(6, 9).double()
    torch.nn.init.uniform_(projector.norm.weight, 0.1, 0.8)  # some tokens are clipped, some are not
    x = 5 * torch.randn(2, 40, 6, dtype=torch.float64)
    clipped = 0
    for batch, token in np.ndindex(2, 40):
        first, _, second = projector.projector
        hidden = torch.nn.functional.gelu(first.weight @ x[batch, token] + first.bias)
        out = second.weight @ hidden + second.bias
        y = projector.norm.weight * out / ((out**2).mean() + 1e-6).sqrt()
        clipped += int(y.norm() > 1.22)
        wanted = 0.83 * y * min(1.0, 1.22 / float(y.norm().detach()))
        torch.testing.assert_close(projector(x)[batch, token], wanted, rtol=1e-6, atol=1e-8)
    assert 10 < clipped < 70


@pytest.mark.parametrize("width", [1, 2, 3, 64, 4096])
def test_every_token_has_the_one_length_that_is_told(width):
    told, norm = constant_norm(width), torch.nn.RMSNorm(width, eps=1e-6).double()
    x = torch.randn(50, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = (x + x.sign() / 4) * torch.logspace(-1, 3, 50, dtype=torch.float64)[:, None]
    lengths = shorten(norm(x)).norm(dim=-1)
    assert lengths.detach().numpy() == pytest.approx(told.norm, rel=1e-3)
    assert norm(x).norm(dim=-1).detach().numpy() == pytest.approx(told.rms_norm, rel=1e-3)
    assert told.always == (width > 1) and (round(told.norm, 4) == 1.0126) == told.always


def test_below_the_least_weight_the_clip_need_not_fire_and_from_it_on_it_does():
    least = constant_norm(64).least_weight
    x = torch.nn.functional.one_hot(torch.arange(64), 64).double() * 7  # all of a token in one coordinate
    for factor, fires in ((1.01, True), (0.99, False)):
        norm = torch.nn.RMSNorm(64, eps=1e-6).double()
        norm.weight.data.fill_(factor * least)
        lengths = shorten(norm(x)).norm(dim=-1)
        assert bool((lengths > LENGTH - 1e-9).all()) == fires


def test_zero_stays_zero_and_half_precision_stays_what_it_is(golden):
    arrays = np.load(golden / "projector" / "cases.npz")
    zero = torch.zeros(3, 8, requires_grad=True)
    shorten(zero).sum().backward()
    assert not shorten(zero).any() and zero.grad.isfinite().all()
    half = NormalizedProjector(12, 16).bfloat16()(torch.tensor(arrays["x"]).bfloat16())
    assert half.dtype == torch.bfloat16 and half.float().norm(dim=-1).detach().numpy() == pytest.approx(
        LENGTH, rel=0.01
    )


def test_gradients_are_those_of_finite_differences_and_none_changes_a_length():
    torch.manual_seed(0)
    projector = NormalizedProjector(4, 5).double()
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(projector, (x,))
    parameters = [x, *projector.parameters()]
    slopes = torch.autograd.grad(projector(x).norm(dim=-1).sum(), parameters, allow_unused=True)
    assert max(float(slope.abs().max()) for slope in slopes) < 1e-9
    slopes = torch.autograd.grad(projector(x)[..., 0].sum(), parameters)
    assert all(slope.abs().max() > 1e-4 for slope in slopes)


@pytest.mark.parametrize("layers", [None, LAYERS])
def test_a_llava_with_it_trains_a_step(llava, layers):
    model, processor = llava
    model = with_normalized_projector(model, layers=layers).train()
    projector = model.model.multi_modal_projector
    model.requires_grad_(False)
    projector.requires_grad_(True)
    vlm = HookedVLM.wrap(model, processor, self_check=False)
    inputs = vlm.prepare(photo(), "Where is the mug?")
    vlm.unwrap()
    batch = {name: inputs.tensors[name] for name in ("input_ids", "attention_mask", "pixel_values")}

    def loss():
        return model(**batch, labels=batch["input_ids"]).loss

    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer, first = torch.optim.SGD(projector.parameters(), lr=0.05), loss()
    first.backward()
    assert all(one.grad is not None and one.grad.abs().max() > 0 for one in projector.parameters())
    assert not any(one.grad is not None for one in model.model.vision_tower.parameters())
    optimizer.step()
    assert loss() < first
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {name for name in before if "multi_modal_projector" in name}


def test_the_first_projector_is_the_models_own_and_every_token_has_one_length(llava):
    model, processor = llava
    old = model.model.multi_modal_projector
    pixels = processor.image_processor(photo(), return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        plain = torch.stack(list(model.model.get_image_features(pixels, vision_feature_layer=-2).pooler_output))
        new = with_normalized_projector(model).model.multi_modal_projector
        tokens = torch.stack(list(model.model.get_image_features(pixels, vision_feature_layer=-2).pooler_output))
    assert torch.equal(new.projector[0].weight, old.linear_1.weight) and new.norm.weight.eq(1).all()
    torch.testing.assert_close(tokens, plain * LENGTH / plain.norm(dim=-1, keepdim=True), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("layers", [None, LAYERS])
def test_what_was_saved_loads_again_and_passes_its_self_check(llava, tmp_path, layers):
    model, processor = llava
    model = with_normalized_projector(model, layers=layers)
    torch.nn.init.uniform_(model.model.multi_modal_projector.norm.weight, 0.5, 2)
    folder = save_normalized(model, tmp_path / "own")
    processor.save_pretrained(folder)
    assert not list(folder.glob("*.bin"))
    loaded, same = load_normalized(folder)
    for name, value in model.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name]), name
    one, other = HookedVLM.wrap(model, processor), HookedVLM.wrap(loaded, same)
    assert one.self_checked and other.self_checked
    inputs = other.prepare(photo(), "Where is the mug?")
    output, cache = other.run_with_cache(inputs, names_filter="projector.hook_out")
    lengths = cache["projector.hook_out"].norm(dim=-1)
    assert lengths.numpy() == pytest.approx(LENGTH, rel=1e-4)
    assert torch.equal(output.logits, one.run_with_cache(inputs, names_filter="projector.hook_out")[0].logits)
    with pytest.raises(ModelError, match="multi_modal_projector"):
        load_model(str(folder))  # never without the block in silence


@pytest.mark.parametrize("name", sorted(set(TINY) - {"tiny-llava", "tiny-pixtral"}))
def test_other_families_are_refused_by_name_and_stay_as_they_are(name):
    model, _ = build_tiny(name)
    before = [type(part) for part in model.modules()]
    with pytest.raises(ModelError, match=f"{model.config.model_type}' model: load a LLaVA-1.5"):
        with_normalized_projector(model)
    assert [type(part) for part in model.modules()] == before


def test_a_llava_without_clip_is_refused_several_layers():
    model, _ = build_tiny("tiny-pixtral")
    with pytest.raises(ModelError, match="reads CLIP, and the vision tower is 'pixtral'"):
        with_normalized_projector(model, layers=LAYERS)
    assert type(with_normalized_projector(model).model.multi_modal_projector) is NormalizedProjector


def test_what_can_not_be_is_refused(llava, tmp_path):
    model, _ = llava
    old = model.model.multi_modal_projector
    for layers in ((), (0,), (1, 1), (99,), (1.5,)):
        with pytest.raises(InputError, match="different ones of 1 to"):
            with_normalized_projector(model, layers=layers)
    assert model.model.multi_modal_projector is old
    with pytest.raises(ModelError, match="no normalising projector"):
        save_normalized(model, tmp_path)
    with pytest.raises(ModelError, match=r"holds no normalized_projector\.json"):
        load_normalized(tmp_path)
    with pytest.raises(ModelError, match="already"):
        with_normalized_projector(with_normalized_projector(model))
    with pytest.raises(InputError, match="0 wide"):
        constant_norm(0)
    folder = save_normalized(model, tmp_path / "own")
    (folder / "normalized_projector.json").write_text(json.dumps({"layers": None, "clip": 2.0}))
    with pytest.raises(ModelError, match="other numbers"):
        load_normalized(folder)


def photo():
    from PIL import Image

    image = Image.new("RGB", (80, 60), "white")
    image.paste("red", (10, 20, 40, 50))
    return image
