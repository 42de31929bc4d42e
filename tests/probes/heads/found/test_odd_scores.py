"""Scores and shards of heads that others made up: of wrong types or shapes, they are refused by name."""

import json

import numpy as np
import pytest

from interp.errors import InputError
from probes import HeadScores, load_directions, load_scores, save_scores
from probes.heads.activations.z_shards import HeadAxes, ZShard, _known_by

WRONG = {
    "functions as text": {"functions": "ab"},
    "functions that are numbers": {"functions": [1, 2]},
    "another number of functions": {"functions": ["a"]},
    "samples as text": {"samples": "x"},
    "samples of text": {"samples": ["x", "y"]},
    "a scorer that is a dict": {"scorer": {}},
    "settings in a list": {"settings": []},
    "left out without why": {"left_out": [{"function": "a"}]},
    "left out that is a number": {"left_out": [5]},
}


@pytest.fixture
def kept(tmp_path):
    values = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    path = tmp_path / "probe.npz"
    save_scores(HeadScores("probe", ("a", "b"), values, (4, 4), (2, 2)), path)
    with np.load(path) as file:
        return path, {name: file[name] for name in file.files}


@pytest.mark.parametrize("changes", WRONG.values(), ids=WRONG)
def test_what_scores_say_of_themselves_is_of_the_right_types(kept, changes):
    path, parts = kept
    assert load_scores(path).functions == ("a", "b")
    np.savez(path, **parts | {"about": np.array(json.dumps(json.loads(str(parts["about"])) | changes))})
    with pytest.raises(InputError, match="holds no scores of heads"):
        load_scores(path)


@pytest.mark.parametrize("values", [np.zeros((2, 2), np.float32), np.zeros((2, 2, 3)), np.array(["x"]), np.array(5)])
def test_tables_of_other_shapes_or_types_are_refused(kept, values):
    path, parts = kept
    for name in ("values", "low"):
        np.savez(path, **parts | {name: values})
        with pytest.raises(InputError, match="holds no scores of heads"):
            load_scores(path)


def test_directions_of_other_types_are_refused(tmp_path):
    for parts in ({"trained_on": np.array("a")}, {"trained_on": np.array(["a"]), "horizontal": np.array(["x"])}):
        np.savez(tmp_path / "odd.npz", **{"horizontal": np.ones((4, 2), np.float32), **parts})
        with pytest.raises(InputError, match="odd.npz"):
            load_directions(tmp_path / "odd.npz")


@pytest.mark.parametrize("told", ["5", "{}", "[" * 100_000, '{"ids": 1, "sha256": 2}', '{"ids": ["a"], "sha256": []}'])
def test_a_shard_of_activations_whose_header_is_odd_is_refused(tmp_path, told):
    from safetensors.numpy import save_file

    path = tmp_path / "z-0000.safetensors"
    save_file({"blocks.0": np.zeros((1, 2, 3), np.float32)}, path, {"items_and_digests": told})
    with pytest.raises(InputError, match=r"z-0000\.safetensors"):
        ZShard(path, {0: "a"}, HeadAxes(1, 2, 3), "float32", _known_by(told))
