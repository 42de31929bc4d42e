"""Shards of activations are held to their digests: no damage is read as numbers, what is damaged is measured again."""

import shutil

import numpy as np
import pytest
import tiny
from safetensors import safe_open
from safetensors.numpy import save_file

from interp.errors import InputError
from interp.objects.sample import Sample
from probes import collect_heads, load_head_activations
from probes.heads.activations.features import layer_of, read_features

ITEMS = [
    Sample(f"i{place}", tiny.photo(place), "Where is the mug?", ("left", "right"), "left", group=f"g{place}",
           meta={"functions": ["spatial" if place % 2 else "math"]})
    for place in range(4)
]  # fmt: skip


def collected(out, **changes):
    given = {"batch": 2, "progress": False, "answers": "reference", **changes}
    return collect_heads(tiny.vlm(self_check=False), ITEMS, out=out, **given)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return collected(tmp_path_factory.mktemp("whole") / "z")


@pytest.fixture
def copied(whole, tmp_path):
    shutil.copytree(whole.folder, tmp_path / "z")
    return tmp_path / "z"


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def edit(path, other):
    """Write the shard anew with other numbers, its header as it was."""
    with safe_open(path, "np") as file:
        kept, told = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()
    save_file(other(kept), path, told)


def test_one_flipped_bit_in_any_layer_is_refused_by_name_whoever_reads_it(copied):
    path = copied / "shards" / "z-0001.safetensors"
    flip(path, -1)  # of the last layer
    found = load_head_activations(copied)
    assert found.of_layer(0).shape == (4, 4, 8)  # which is whole
    reads = (lambda: found.of(2, 1), lambda: found.of_layer(2), lambda: list(found.chunks()), lambda: found.of(2, 3))
    for read in reads:
        with pytest.raises(
            InputError, match=r"layer 2 of .*z-0001.safetensors' is not what was written.*delete it and collect"
        ):
            read()
    with pytest.raises(InputError, match="layer 2 of"):
        layer_of(read_features(found.select([2, 0, 1, 3])), 2)


def test_no_flipped_bit_of_the_header_is_read_as_other_numbers_or_ends_in_another_error(copied):
    path = copied / "shards" / "z-0001.safetensors"
    content = path.read_bytes()
    named = [content.index(b"blocks.1") + 7, content.index(b"F32"), content.index(b"items_and")]
    for place in [*range(0, 8 + int.from_bytes(content[:8], "little"), 9), *named]:
        flip(path, place)
        with pytest.raises(InputError, match="z-0001.*delete it and collect again"):
            found = load_head_activations(copied)
            for layer in range(3):
                found.of_layer(layer)
        path.write_bytes(content)


@pytest.mark.parametrize(
    "change",
    [
        lambda kept: {name: values * np.float32(1.0001) for name, values in kept.items()},
        lambda kept: {name: values[::-1].copy() for name, values in kept.items()},  # the items changed places
        lambda kept: {name: kept[f"blocks.{2 - place}"] for place, name in enumerate(sorted(kept))},
    ],
    ids=["scaled", "items swapped", "layers swapped"],
)
def test_numbers_that_were_edited_or_moved_are_refused(copied, change):
    edit(copied / "shards" / "z-0000.safetensors", change)
    with pytest.raises(InputError, match="layer 0 of .*is not what was written"):
        load_head_activations(copied).of_layer(0)


def test_a_shard_of_another_collection_of_the_same_items_is_refused(copied, tmp_path):
    other = collected(tmp_path / "other", tokens="first", alignment="predicts")
    shutil.copy(other.folder / "shards" / "z-0000.safetensors", copied / "shards")
    with pytest.raises(InputError, match="z-0000.safetensors' is not the shard of its study, which wrote another"):
        load_head_activations(copied)


@pytest.mark.parametrize("place", [-1, -200, 100], ids=["last layer", "middle", "header"])
def test_resuming_measures_damaged_shards_again_to_the_same_bytes_and_the_others_not(copied, whole, place):
    flip(copied / "shards" / "z-0001.safetensors", place)
    again = collected(copied, resume=True)
    for name in ("z-0000.safetensors", "z-0001.safetensors"):
        assert (copied / "shards" / name).read_bytes() == (whole.folder / "shards" / name).read_bytes()
    np.testing.assert_array_equal(again.of_layer(2), whole.of_layer(2))


def test_numbers_that_come_out_otherwise_are_not_mixed_with_those_that_were_kept(copied, monkeypatch):
    (copied / "shards" / "z-0001.safetensors").unlink()
    monkeypatch.setattr(
        "probes.heads.activations.measurement.narrowed", lambda values, *more: values + np.float32(1e-6)
    )
    with pytest.raises(InputError, match="z-0001.* numbers now come out otherwise.*collect anew in another folder"):
        collected(copied, resume=True)


def test_a_folder_without_digests_is_refused(whole, monkeypatch):
    from probes.heads.activations import result

    table = whole.items.drop(columns="shard_sha256")
    with pytest.raises(InputError, match="was collected without digests"):
        result.activations_of(whole.folder, table, whole.settings)


def test_digests_hold_half_precision_too(tmp_path):
    found = collected(tmp_path / "z", store="float16")
    assert found.of_layer(1).dtype == np.float32 and found.items["shard_sha256"].nunique() == 2
