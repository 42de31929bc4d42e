"""The page of the position probes: what its script measures stands between its marks, and what needs no run holds."""

import re

import numpy as np
import pytest
from measured_page import block, check_marks, script


@pytest.fixture(scope="module")
def page(repo):
    return (repo / "docs" / "probes" / "position.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def maker(repo):
    """The script of the page."""
    with script(repo, "position_page") as module:
        yield module


def test_every_mark_has_its_end_and_is_filled(page):
    check_marks(page)


def test_what_needs_no_run_is_on_the_page_as_the_code_has_it(page, maker):
    for name, fresh in maker.unmeasured_blocks():
        assert block(page, name) == fresh.strip(), "run docs/scripts/position_page.py"


def test_the_numbers_are_of_the_embedded_weights_and_of_as_many_scenes_as_it_says(page, maker):
    assert f"weights `{maker.weights()}`" in block(page, "model"), "the embedded model has changed: run `make docs`"
    assert f"on {maker.N} scenes" in block(page, "model")
    assert f"| `all` | {maker.N_ORDER} |" in block(page, "psi") and f"| `all` | {maker.N_2DS} |" in block(
        page, "2ds style"
    )


def test_every_picture_of_the_page_is_there_and_small(page, repo):
    names = re.findall(r"\(\.\./images/position/([\w-]+\.png)\)", page)
    folder = repo / "docs" / "images" / "position"
    assert len(names) > 6 and set(names) == {path.name for path in folder.iterdir()}
    assert max((folder / name).stat().st_size for name in names) < 120_000


def test_a_block_is_put_between_its_marks_again_and_again_and_nowhere_else(maker):
    page = "a\n<!-- measured: x -->\nold\n<!-- end: x -->\nb\n<!-- measured: y -->\n<!-- end: y -->\n"
    once = maker.put(page, "x", r"| new \d |")
    assert (
        once == "a\n<!-- measured: x -->\n\n| new \\d |\n\n<!-- end: x -->\nb\n<!-- measured: y -->\n<!-- end: y -->\n"
    )
    assert maker.put(once, "x", r"| new \d |") == once
    assert maker.put(once, "x", "") == page.replace("old\n", "")
    for wrong in ("z", "x"):
        with pytest.raises(LookupError, match=wrong):
            maker.put(page if wrong == "z" else page + page, wrong, "")


def test_without_smollms_weights_its_block_is_left_as_it_is(maker, monkeypatch, tmp_path, capsys):
    def absent():
        raise maker.ModelError("not installed")

    monkeypatch.setattr(maker, "smollm_file", absent)
    assert maker.smollm_block(tmp_path) is None and not list(tmp_path.iterdir())
    for name in ("norm", "attention", "rope", "order", "dose", "study"):
        monkeypatch.setattr(maker, f"{name}_blocks", lambda *_: iter(()))
    monkeypatch.setattr(maker, "prepared", lambda *_: iter(()))
    assert "smollm" not in dict(maker.measured_blocks(tmp_path)) and "left as it is" in capsys.readouterr().out


@pytest.mark.slow
def test_the_norms_on_the_page_are_measured_again_alike(page, maker, tmp_path):
    vlm = maker.HookedVLM.from_pretrained("shapes-vlm", dtype="float32")
    fresh = dict(maker.norm_blocks(vlm, list(maker.prepared(vlm, maker.scenes(maker.N))), tmp_path))
    for name, text in fresh.items():
        new, old = (np.array(re.findall(r"-?\d+\.\d+", one), dtype=float) for one in (text, block(page, name)))
        assert new == pytest.approx(old, rel=0.02, abs=0.011), name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["residual_norms.png", "token_norms.png"]
