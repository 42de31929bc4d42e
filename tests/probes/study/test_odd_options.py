"""Options that no study can be run with are refused by name, by every tool of the probes, before a pass or a file."""

import json
from dataclasses import replace
from functools import partial, wraps

import numpy as np
import pytest
from interchange_pairs import noisy_pair

from interp.errors import InputError
from interp.model.hooked_vlm import HookedVLM
from interp.study.run import FORMAT
from probes.mechanisms.ablation.swap import swap_under_ablation
from probes.mechanisms.amplify.study import amplify
from probes.mechanisms.dual.study import dual_mechanisms
from probes.mechanisms.ids.mirror_swap import mirror_swap
from probes.mechanisms.interchange.sweep import interchange
from probes.mechanisms.knockout.study import study_knockout
from probes.mechanisms.lens.study import image_lens
from probes.mechanisms.probe.axis import axis_probe
from probes.mechanisms.probe.position import position_probe
from probes.mechanisms.scenes.both_right import keep_both_right
from probes.position.balance_study import study_balance
from probes.position.dose import dose_response
from probes.position.norms_study import study_norms
from probes.position.order import psi
from probes.position.report.position import examine_position
from probes.position.rope_study import study_rope

PAIRS = [noisy_pair(0), noisy_pair(1)]
SAMPLES = [pair.clean for pair in PAIRS]
NAMED = [
    replace(
        pair,
        **{side: replace(getattr(pair, side), question="Where is the mug?") for side in ("clean", "counterfactual")},
    )
    for pair in PAIRS
]
SIDES = [replace(one, relation="left", answer="left", options=("left", "right")) for one in SAMPLES]
OF_PAIRS = (interchange, mirror_swap, dual_mechanisms)
OF_SAMPLES = (
    study_knockout, image_lens, position_probe, axis_probe,
    psi, dose_response, study_balance, study_norms, study_rope, examine_position,
)  # fmt: skip
GIVEN = dict.fromkeys(OF_PAIRS, PAIRS) | {axis_probe: SIDES, mirror_swap: NAMED}
TOOLS = {tool.__name__: (tool, GIVEN.get(tool, SAMPLES)) for tool in (*OF_PAIRS, *OF_SAMPLES)}
TOOLS["image_lens"] = (partial(image_lens, words=("l",)), SAMPLES)
ODD = [
    ("out", 5, "out=5 names no folder"),
    ("out", "", "out='' names no folder"),
    ("out", True, "out=True names no folder"),
    ("resume", "yes", "resume='yes' is not understood: give True or False"),
    ("resume", 1, "resume=1 is not understood"),
    ("progress", "no", "progress='no' is not understood"),
    ("progress", None, "progress=None is not understood"),
    ("batch", True, "batch True can not be used"),
    ("batch", np.bool_(True), "batch .*True.* can not be used"),
    ("batch", 0, "batch 0 can not be used: give a whole number from 1 on"),
    ("batch", 2.0, "batch 2.0 can not be used"),
    ("batch", "16", "batch '16' can not be used"),
    ("record", 5, "record=5 is no dict"),
    ("record", "coco", "record='coco' is no dict"),
    ("record", [("data", "coco")], "record=.* is no dict"),
]


@pytest.fixture(scope="module")
def still():
    """A model that can not be run."""
    found = HookedVLM.from_pretrained("tiny-llava", self_check=False)

    @wraps(found.model.forward)
    def run(*args, **kwargs):
        raise AssertionError("a pass was made")

    found.model.forward = run
    return found


@pytest.mark.parametrize("name", TOOLS)
def test_every_tool_refuses_them_before_anything_else(still, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tool, given = TOOLS[name]
    for option, odd, says in ODD:
        with pytest.raises(InputError, match=says):
            tool(still, given, **{"progress": False, option: odd})
    assert not list(tmp_path.iterdir())


def test_a_model_that_is_none_is_named_by_every_tool():
    for tool, given in TOOLS.values():
        with pytest.raises(InputError, match="the model is a str: load it with"):
            tool("llava", given, progress=False)


@pytest.mark.parametrize(
    ("tool", "wrong", "says"),
    [
        (interchange, {"keep_wrong": "no"}, "keep_wrong='no' is not understood"),
        (swap_under_ablation, {"keep_wrong": 1}, "keep_wrong=1 is not understood"),
        (keep_both_right, {"progress": "no"}, "progress='no' is not understood"),
        (keep_both_right, {"batch": True}, "batch True can not be used"),
        (partial(amplify, directions={"horizontal": np.eye(32)[:, :2]}), {"same_angle": "no"}, "same_angle='no'"),
        (image_lens, {"top": True}, "top True can not be used"),
        (image_lens, {"top": "5"}, "top '5' can not be used"),
        (psi, {"sides": 4}, "sides=4 is no list"),
        (psi, {"chance": "half"}, "chance='half'"),
        (study_knockout, {"windows": "mid"}, "width='mid'"),
        (study_knockout, {"windows": 1.5}, "width=1.5"),
        (position_probe, {"test_share": "half"}, "share"),
        (position_probe, {"blank": "white"}, "blank"),
        (position_probe, {"blank": 5}, "blank"),
        (axis_probe, {"recipe": ["paper"]}, "recipe"),
        (study_rope, {"delta": "one"}, "delta"),
        (study_rope, {"query_row": 1.5}, "query_row"),
        (study_balance, {"system": 5}, "system"),
        (examine_position, {"tools": 5}, "tools=5 is no list"),
        (dual_mechanisms, {"tools": 5}, "tools=5 is no list"),
        (mirror_swap, {"prompt": 5}, "prompt style 5"),
        (study_norms, {"prompt": None}, "prompt style None"),
    ],
)
def test_what_a_tool_has_alone_is_refused_too(still, tool, wrong, says):
    pairs = tool in (*OF_PAIRS, swap_under_ablation, keep_both_right)
    with pytest.raises(InputError, match=says):
        tool(still, PAIRS if pairs else SAMPLES, **{"progress": False, **wrong})


@pytest.mark.parametrize("name", TOOLS)
def test_a_folder_that_can_not_be_used_is_refused_before_a_pass(still, name, tmp_path):
    tool, given = TOOLS[name]
    part = {"position_probe": "test", "dual_mechanisms": "object", "examine_position": "rope"}.get(name, "")
    file, begun, other = tmp_path / "a file", tmp_path / "begun", tmp_path / "other"
    file.write_text("mine")
    for folder in (begun / part, other):
        folder.mkdir(parents=True)
        manifest = {"format": FORMAT, "samples": 1, "digest": "0", "batch": 16, "settings": {"study": "another"}}
        (folder / "manifest.json").write_text(json.dumps(manifest))
    for options, says in (
        ({"out": file}, "can not be written"),
        ({"out": "/proc/nowhere/at all"}, "can not be written"),
        ({"out": begun}, "holds a study: go on with it by resume=True"),
        ({"out": other, "resume": True}, "holds another study: .*study: was 'another'|holds a study of another tool"),
        ({"out": other}, "holds a study"),
        ({"out": None, "resume": True}, "without a folder nothing is kept that could be resumed"),
    ):
        with pytest.raises(InputError, match=says):
            tool(still, given, **{"progress": False, **options})
    written = sorted(path.name for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock")
    assert written == ["a file", "manifest.json", "manifest.json"] and file.read_text() == "mine"
