"""With the paper's preset photos are resized as the authors do it; it is recorded, and a resumed run keeps to it."""

import json

from adaptvis.__main__ import main as adaptvis
from adaptvis.benchmark import evaluate_dataset
from adaptvis.paper.published import PRESETS
from interp import HookedVLM
from interp.compat import BACKENDS, image_backend

DATASET = ["evaluate", "--dataset", "shapes-a", "--n", "8", "--part", "all", "--quick", "--max-new-tokens", "1"]


def test_the_preset_takes_pil_unless_asked_otherwise_and_it_is_part_of_the_identity(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(PRESETS, "shapes-a", PRESETS["controlled-a"])
    usual = image_backend(HookedVLM.from_pretrained("shapes-vlm").processor.image_processor)
    asked = {"usual": [], "preset": ["--preset", "paper"]}
    asked["both"] = [*asked["preset"], "--image-backend", "torchvision"]
    for name, more in asked.items():
        assert adaptvis([*DATASET, *more, "--out", str(tmp_path / name)]) == 0
        manifest = json.loads((tmp_path / name / "test" / "manifest.json").read_text())
        summary = json.loads((tmp_path / name / "summary.json").read_text())
        wanted = {"usual": usual, "preset": "pil", "both": "torchvision"}[name]
        assert manifest["settings"]["image_backend"] == summary["settings"]["image_backend"] == wanted
    capsys.readouterr()
    out = str(tmp_path / "both")
    assert adaptvis([*DATASET, *asked["preset"], "--resume", "--out", out]) == 2
    assert "image_backend: was 'torchvision', now 'pil'" in capsys.readouterr().err


def test_a_loaded_model_is_asked_on_the_presets_backend_and_given_back_as_it_was(monkeypatch):
    monkeypatch.setitem(PRESETS, "shapes-a", PRESETS["controlled-a"])
    vlm, how = HookedVLM.from_pretrained("shapes-vlm"), {"n": 8, "part": "all", "ablations": False, "progress": False}
    before = vlm.processor.image_processor
    found = {name: evaluate_dataset(vlm, "shapes-a", preset="paper", image_backend=name, **how) for name in BACKENDS}
    usual = evaluate_dataset(vlm, "shapes-a", preset="paper", **how)
    sure = {name: one.test["confidence"].tolist() for name, one in {**found, "usual": usual}.items()}
    assert sure["usual"] == sure["pil"] != sure["torchvision"] and vlm.processor.image_processor is before
