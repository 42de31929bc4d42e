"""Features of heads: the recorded ones of the papers' own code, the mean of a layer, and readers layer by layer."""

import json

import numpy as np
import pytest
from golden import golden

from interp.errors import InputError
from probes.heads.activations.features import POSITIONS, head_feature, layer_of, read_features, with_layer_mean

RECORDED = {"first": "first", "last": "last", "meaning_first": "meaning", "full": "full", "topk": "topk"}


@pytest.mark.parametrize("context", [False, True], ids=["plain", "context"])
@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("split", ["train", "test"])
def test_features_are_those_of_the_papers_code(position, context, split):
    folder = golden("head_probe")
    told, held = json.loads((folder / "features.json").read_text()), np.load(folder / "features.npz")
    wanted = held[f"feat.{RECORDED[position]}.{'ctx' if context else 'plain'}.{split}"]
    for place, own in enumerate(wanted):
        raw = held[f"{split}.{place}"]
        z = raw.reshape(*raw.shape[:2], told["heads"], told["dim"])
        tokens = told[f"{split}_topk" if position == "topk" else f"{split}_pos"][place]
        got = head_feature(z, position, tokens, context=context)
        np.testing.assert_allclose(got.reshape(own.shape), own, atol=1e-6)


def test_the_mean_of_the_layers_heads_stands_after_each_head():
    own = np.arange(24, dtype=float).reshape(2, 3, 4)
    both = with_layer_mean(own)
    assert both.shape == (2, 3, 8)
    for layer in range(2):
        for head in range(3):
            np.testing.assert_allclose(both[layer, head], [*own[layer, head], *own[layer].mean(axis=0)])


def test_tokens_beyond_the_last_activation_are_left_out_and_none_inside_is_refused():
    z = np.random.default_rng(0).normal(size=(1, 3, 2, 2))
    np.testing.assert_allclose(head_feature(z, "topk", (1, 2, 3)), z[:, 1:3].mean(axis=1), rtol=1e-6)
    with pytest.raises(InputError, match=r"\[3, 4\] were given, of 3"):
        head_feature(z, "topk", (3, 4))
    with pytest.raises(InputError, match="needs tokens of the answer"):
        head_feature(z, "full")
    with pytest.raises(InputError, match="from 0"):
        head_feature(z, "topk", (-1, 1))
    with pytest.raises(InputError, match="no places"):
        head_feature(z, "topk", [True, False, True])
    with pytest.raises(InputError, match="position='middle' is not known: use one of first, last"):
        head_feature(z, "middle")
    with pytest.raises(InputError, match=r"give \[layer token head d_head\]"):
        head_feature(z[0], "first")


class Shards:
    """A reader that opens one layer at a time, and counts how many."""

    def __init__(self, values, promised=None):
        self.values, self.shape, self.opened = values, promised or values.shape, []

    def of_layer(self, layer):
        self.opened.append(layer)
        return self.values[:, layer]


def test_an_array_and_a_reader_of_layers_give_the_same():
    values = np.random.default_rng(0).normal(size=(5, 2, 3, 4)).astype(np.float16)
    for given in (values, Shards(values)):
        read = read_features(given)
        assert read.shape == (5, 2, 3, 4)
        own = layer_of(read, 1)
        assert own.dtype == np.float32
        np.testing.assert_array_equal(own, values[:, 1].astype(np.float32))


def test_features_that_can_not_be_read_are_refused_with_their_place():
    values = np.zeros((5, 2, 3, 4))
    with pytest.raises(InputError, match=r"shape \(5, 2, 3\): give an array \[item layer head d_head\]"):
        read_features(values[..., 0])
    with pytest.raises(InputError, match=r"\(5, 3, 9\) were promised"):
        layer_of(read_features(Shards(values, promised=(5, 2, 3, 9))), 0)
    values[4, 1, 2, 0] = np.nan
    with pytest.raises(InputError, match="layer 1 are not finite in 1 of 5 items, first in head 2"):
        layer_of(read_features(values), 1)
