"""Sinks by mass: tokens that are always on and no others, and the share that is not on them."""

import numpy as np
import pytest
from made_up import layout_of, softmax_rows, square_grid

from interp.errors import InputError
from interp.maps.sinks import mass_sinks, non_sink_share
from interp.maps.trajectory import trajectory


def random_maps(images, seed=0):
    return np.random.default_rng(seed).gamma(0.5, size=(images, 4, 3, 36))


def test_a_token_that_is_always_on_is_a_sink_and_one_that_often_is_is_not():
    maps = random_maps(20)
    maps[:, :, :, 5] += 0.5 * maps.sum(axis=-1)
    maps[:17, :, :, 9] += 0.5 * maps[:17].sum(axis=-1)  # in 85 % of the images
    assert np.flatnonzero(mass_sinks(maps)).tolist() == [5]
    assert np.flatnonzero(mass_sinks(maps, most=0.8)).tolist() == [5, 9]
    assert not mass_sinks(maps, times=30).any()


def test_attention_that_falls_anywhere_has_no_sinks_and_an_object_that_moves_is_none():
    maps = random_maps(20)
    assert not mass_sinks(maps).any()
    for place, image in enumerate(maps):
        image[..., place] += 5 * image.sum(axis=-1)
    assert not mass_sinks(maps).any()


def test_every_head_counts_alike_however_much_it_gives_the_image():
    maps = random_maps(6)
    maps[:, 0, 0] = 1000.0 * (np.arange(36) == 7)  # one head of twelve: a share of at least 1 / 12
    assert mass_sinks(maps, times=2.0)[7] and not mass_sinks(maps, times=6.0)[7]
    maps[:, 1] = 0  # a layer that does not look at the image at all does not count
    assert mass_sinks(maps, times=2.0)[7]


def test_trajectories_are_taken_as_they_are():
    layout, grid = layout_of(36), square_grid((60, 60), 6)
    patterns = [softmax_rows(layout, 2, 3, seed=seed) for seed in range(4)]
    found = mass_sinks([trajectory(pattern, layout, grid) for pattern in patterns], times=1.0, most=0.5)
    plain = mass_sinks([pattern[..., layout.image_positions] for pattern in patterns], times=1.0, most=0.5)
    assert np.array_equal(found, plain) and 0 < found.sum() < 36


@pytest.mark.parametrize(
    ("maps", "options", "message"),
    [
        (random_maps(1), {}, "1 images"),
        ([np.ones(36), np.ones(35)], {}, r"\[35, 36\] tokens"),
        (random_maps(3), {"times": 36}, "below its tokens"),
        (random_maps(3), {"times": 0}, "times above 0"),
        (random_maps(3), {"most": 1.1}, "up to 1"),
        ([np.ones(36), np.zeros(36)], {}, "image 1 has no attention"),
        ([np.ones(36), np.full(36, np.nan)], {}, "image 1"),
    ],
)
def test_samples_that_tell_nothing_of_sinks_are_refused(maps, options, message):
    with pytest.raises(InputError, match=message):
        mass_sinks(maps, **options)


def test_the_share_that_is_not_on_sinks_has_the_published_value():
    weights, sinks = np.array([0.35, 0.10, 0.20]), np.array([True, False, False])
    assert non_sink_share(weights, sinks) == pytest.approx(0.4615, abs=5e-5)
    assert np.isnan(non_sink_share(np.zeros(3), sinks))
    assert non_sink_share(np.stack([weights, weights[::-1]]), sinks) == pytest.approx([0.3 / 0.65, 0.45 / 0.65])
