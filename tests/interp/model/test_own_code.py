"""Code that a checkpoint brings never runs unasked, and what trusting it helps is said."""

import argparse
import json
import sys

import pytest
from checkpoints import change_config, refused
from safetensors.torch import load_file, save_file

from adaptvis.__main__ import build_parser as adaptvis_parser
from interp.__main__ import build_parser as interp_parser
from interp.errors import ModelError
from interp.model.hooked_vlm import HookedVLM
from interp.model.loading import load_model
from probes.__main__ import build_parser as probes_parser

pytestmark = pytest.mark.compat

OWN_CODE = {
    "config": {"config.json": {"model_type": "unknown", "auto_map": {"AutoConfig": "own.Own"}}},
    "processor": {
        "processor_config.json": {"processor_class": "Unknown", "auto_map": {"AutoProcessor": "own.Own"}},
        "tokenizer_config.json": {"processor_class": None},
    },
    "image processor": {
        "processor_config.json": {
            "image_processor": {"image_processor_type": "Unknown", "auto_map": {"AutoImageProcessor": "own.Own"}}
        },
    },
    "image processor of a processor that is not named": {
        "processor_config.json": {
            "processor_class": None,
            "image_processor": {"image_processor_type": "Unknown", "auto_map": {"AutoImageProcessor": "own.Own"}},
        },
        "tokenizer_config.json": {"processor_class": None},
    },
}
"""How each part of a folder may name code that lies in it."""


def bring_code(folder, part, code):
    (folder / "own.py").write_text(code)
    for name, changes in OWN_CODE[part].items():
        path = folder / name
        content = {**json.loads(path.read_text()), **changes}
        path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


@pytest.mark.parametrize("part", OWN_CODE)
def test_code_that_a_folder_brings_never_runs_and_is_not_asked_about(folder, tmp_path, part, monkeypatch):
    marker, asked = tmp_path / "marker", []
    bring_code(folder, part, f"open({str(marker)!r}, 'w').close()\nclass Own: pass\n")
    monkeypatch.setattr("builtins.input", lambda *words: asked.append(words) or "y")
    message = refused(folder)
    assert not marker.exists() and not asked
    assert "brings Python code of its own" in message
    assert ("trust_remote_code=True (--trust-remote-code)" in message) == (part != "config")  # where it would help


def test_code_that_is_trusted_runs_and_the_command_lines_can_trust_it(folder, monkeypatch, tmp_path):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr("sys.path", [str(tmp_path / "modules"), *sys.path])
    bring_code(folder, "processor", "from transformers import LlavaProcessor\nclass Own(LlavaProcessor): pass\n")
    vlm = HookedVLM.from_pretrained(folder, trust_remote_code=True)
    assert type(vlm.processor).__name__ == "Own"
    for parser in (interp_parser(), adaptvis_parser(), probes_parser()):
        commands = next(action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction))
        with_model = [one for one in commands.values() if "--model" in one.format_help()]
        assert with_model and all("--trust-remote-code" in one.format_help() for one in with_model)


def test_a_configuration_of_its_own_is_refused_trusted_or_not_and_nobody_is_told_to_trust_it(
    folder, monkeypatch, tmp_path
):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr("sys.path", [str(tmp_path / "modules"), *sys.path])
    code = "from transformers import LlavaConfig\nclass Own(LlavaConfig):\n    model_type = 'unknown'\n"
    bring_code(folder, "config", code)
    for trusted in (False, True):
        with pytest.raises(ModelError) as error:
            load_model(folder, trust_remote_code=trusted)
        assert "trust" not in str(error.value).replace(str(folder), "") and "transformers knows" in str(error.value)


OWN_CLASSES = """from transformers import LlavaConfig, LlavaForConditionalGeneration
class Own(LlavaConfig): model_type = "KIND"
class Model(LlavaForConditionalGeneration): config_class = Own
"""


@pytest.mark.parametrize("kind", ["llava", "mine"])
def test_a_class_of_own_code_is_taken_for_a_known_kind_and_refused_as_such_for_another(
    folder, monkeypatch, tmp_path, kind
):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr("sys.path", [str(tmp_path / "modules"), *sys.path])
    (folder / f"own_{kind}.py").write_text(OWN_CLASSES.replace("KIND", kind))
    own = {"AutoConfig": f"own_{kind}.Own", "AutoModelForImageTextToText": f"own_{kind}.Model"}
    change_config(folder, model_type=kind, auto_map=own)
    tensors = load_file(folder / "model.safetensors")
    tensors = {name.replace("language_model.lm_head", "lm_head"): value for name, value in tensors.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})  # as this class saves itself
    if kind == "llava":
        assert type(HookedVLM.from_pretrained(folder, trust_remote_code=True).model).__name__ == "Model"
    else:
        message = refused(folder, trust_remote_code=True)
        assert "whose class is of the checkpoint's own code, and no family is known for it" in message
