"""The noise of VCD: its schedule is the published one, and each photo has its own."""

import math
from dataclasses import replace

import pytest
import torch
from ragged import LAYOUTS, frames, loaded, ragged

from adaptvis.contrastive.contrast import noised_pixels, signal_share
from interp.errors import ModelError


@pytest.mark.parametrize("name", LAYOUTS)
def test_noise_is_a_photo_s_own_and_leaves_alone_what_fills_the_batch_up(name):
    vlm, inputs = loaded(name)
    before = {key: value.clone() for key, value in inputs.tensors.items()}
    noised = noised_pixels(inputs, 500, frames=frames(vlm))
    assert all(torch.equal(value, before[key]) for key, value in inputs.tensors.items())
    alone = [noised_pixels(ragged(vlm, [place]), 500, frames=frames(vlm)) for place in range(3)]
    if noised.ndim == 2 or len(noised) != 3:
        assert torch.equal(noised, torch.cat(alone))
    for place in range(3) if len(noised) == 3 else ():
        own = alone[place][0]
        corner = tuple(slice(0, length) for length in own.shape)
        assert torch.equal(noised[place][corner], own)
        rest = torch.ones_like(noised[place], dtype=torch.bool)
        rest[corner] = False
        assert torch.equal(noised[place][rest], before["pixel_values"][place][rest])


def test_the_schedule_is_a_sigmoid_between_the_published_betas():
    share = 1.0
    for step in range(1000):
        share *= 1 - ((5e-3 - 1e-5) / (1 + math.exp(6 - 12 * step / 999)) + 1e-5)
        if step in (0, 1, 500, 999):
            assert signal_share(step) == pytest.approx(share, rel=1e-9)
    assert 1 - signal_share(0) == pytest.approx(1e-5 + 4.99e-3 / (1 + math.exp(6)))


@pytest.mark.parametrize("step", [50, 500, 999])
def test_noise_is_standard_normal_beside_what_is_left_of_the_photo(step):
    vlm, inputs = loaded("internvl")
    share, pixels = signal_share(step), inputs.tensors["pixel_values"]
    noise = (noised_pixels(inputs, step) - math.sqrt(share) * pixels) / math.sqrt(1 - share)
    assert abs(float(noise.mean())) < 0.01 and float(noise.std()) == pytest.approx(1, abs=0.01)
    assert float((noise > 1.96).float().mean()) == pytest.approx(0.025, abs=0.002)
    other = noised_pixels(inputs, step, seed=1)
    assert not torch.equal(other, noised_pixels(inputs, step))
    assert torch.equal(other, noised_pixels(inputs, step, seed=1))
    assert abs(float((noise[0] * noise[7]).mean())) < 0.05  # first tiles of two photos


def test_both_frames_of_a_photo_get_the_same_noise():
    vlm, inputs = loaded("qwen2_5_vl")
    for pixels in (inputs.tensors["pixel_values"], noised_pixels(inputs, 500, frames=2)):
        first, second = pixels.unflatten(1, (3, 2, 14, 14)).unbind(2)
        assert torch.equal(first, second)
    assert not torch.equal(first[:, 0], first[:, 1])


def test_pixels_of_an_unknown_layout_are_refused():
    vlm, inputs = loaded("llava")
    odd = replace(inputs, tensors={**inputs.tensors, "pixel_values": torch.zeros(4, 3, 8, 8)})
    with pytest.raises(ModelError, match=r"pixel_values of shape \(4, 3, 8, 8\) for 3 photos"):
        noised_pixels(odd, 500)
