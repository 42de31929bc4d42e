"""A report that is there already is kept beside one with other settings, whole and named by what differs."""

import json

import pytest
import tiny

from adaptvis.__main__ import main as adaptvis
from adaptvis.benchmark import evaluate_dataset
from adaptvis.evaluation.settings import Settings
from adaptvis.report.earlier import LONGEST, keep_earlier, name_of
from interp.errors import InputError

MINE = {"notes.txt", "answers.csv", "mine.csv", "photo.png", "settings.json", "other.html", "mine.parquet"}
"""Files of a person who works in the same folder."""


def policies(**settings):
    """Policies as a summary has them, some settings of AdaptVis replaced."""
    own = {"alpha_unsure": 0.5, "alpha_sure": 1.5, "threshold": 0.4, "layers": None, **settings}
    return {"baseline": {"policy": "baseline", "settings": {}}, "adaptvis": {"policy": "AdaptVis", "settings": own}}


def report(folder, given, mark="one"):
    """A folder with a report about policies and what a sweep and a person left there."""
    (folder / "test").mkdir(parents=True, exist_ok=True)
    (folder / "test" / "manifest.json").write_text("{}")
    for name in MINE:
        (folder / name).write_text("mine")
    (folder / "summary.json").write_text(json.dumps({"policies": given}))
    for name in ("report.html", "summary.csv", "answers.parquet", "gains.png"):
        (folder / name).write_text(mark)


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_a_finished_run_under_another_threshold_keeps_both_reports_and_names_them(tmp_path, capsys):
    vlm = tiny.vlm()

    def run(threshold, confidence="probability", resume=True):
        settings = Settings(threshold=threshold, confidence=confidence)
        asked = {"n": 8, "part": "all", "ablations": False, "max_new_tokens": 2, "progress": False}
        evaluate_dataset(vlm, "shapes-a", settings=settings, out=tmp_path, resume=resume, **asked)
        return capsys.readouterr().out

    first = run(0.4, resume=False)
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert "earlier" not in first
    said = run(0.6)
    kept = tmp_path / "earlier-threshold=0.4"
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == written
    assert str(kept / "report.html") in said and str(tmp_path / "report.html") in said
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["policies"]["adaptvis"]["settings"]["threshold"] == 0.6
    assert set(written) <= names(tmp_path)
    assert "earlier" not in run(0.6), "the same again is the same report"
    run(0.6, confidence="margin")
    assert names(tmp_path) - set(written) == {
        "test", "earlier-threshold=0.4", "earlier-confidence=probability",
    }  # fmt: skip


def test_the_name_says_the_earlier_values_of_what_differs():
    assert name_of(policies(), policies(threshold=0.3, alpha_sure=2.0)) == "earlier-alpha_sure=1.5,threshold=0.4"
    assert name_of(policies(layers=[3, 4]), policies()) == "earlier-layers=3+4"
    assert name_of(policies(), policies(layers=[3])) == "earlier-layers=all"
    alone = {"baseline": policies()["baseline"]}
    assert name_of(alone, policies()) == "earlier-adaptvis=absent" and name_of(policies(), alone).endswith("=there")
    one, other = (
        {name: {"policy": "", "settings": {"alpha": alpha}} for name, alpha in own.items()}
        for own in ({"a": 1, "b": 2}, {"a": 3, "b": 4})
    )
    assert name_of(one, other) == "earlier-a-alpha=1,b-alpha=2"
    wild = name_of(policies(confidence="../../x y"), policies())
    assert "/" not in wild and " " not in wild
    long = [policies(**{f"setting_{place}": place + step for place in range(30)}) for step in (0, 0.5, 0.25)]
    assert len(name_of(long[0], long[1])) <= LONGEST and name_of(long[0], long[1]) != name_of(long[2], long[1])


def test_only_the_report_moves_and_nothing_is_ever_written_over(tmp_path):
    report(tmp_path, policies())
    kept = keep_earlier(tmp_path, policies(threshold=0.6))
    assert names(kept) == {"summary.json", "report.html", "summary.csv", "answers.parquet", "gains.png"}
    assert names(tmp_path) == {"test", kept.name, *MINE}
    report(tmp_path, policies(confidence="margin"), "two")
    other = keep_earlier(tmp_path, policies(confidence="margin", threshold=0.6))
    assert other.name == "earlier-threshold=0.4-2" and (kept / "report.html").read_text() == "one"
    report(tmp_path, policies(), "again")
    assert keep_earlier(tmp_path, policies(threshold=0.6)) == kept, "a report about the same policies takes its place"
    assert (kept / "report.html").read_text() == "again" and (other / "report.html").read_text() == "two"


def test_without_a_report_or_with_one_about_the_same_nothing_moves(tmp_path):
    assert keep_earlier(tmp_path / "absent", policies()) is None
    report(tmp_path, policies())
    before = names(tmp_path)
    assert keep_earlier(tmp_path, policies()) is None and names(tmp_path) == before


@pytest.mark.parametrize("text", ["{", "[]", '{"policies": 3}', "{}"])
def test_a_report_that_does_not_say_what_it_is_about_is_kept_as_well(tmp_path, text):
    report(tmp_path, policies())
    (tmp_path / "summary.json").write_text(text)
    assert keep_earlier(tmp_path, policies()) == tmp_path / "earlier"
    assert (tmp_path / "earlier" / "summary.json").read_text() == text


def test_a_report_that_can_not_be_moved_is_an_error_that_names_both_places(tmp_path, monkeypatch):
    report(tmp_path, policies())

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("adaptvis.report.earlier.os.replace", full)
    with pytest.raises(InputError, match=r"can not be moved to .*earlier-threshold=0.4.*No space"):
        keep_earlier(tmp_path, policies(threshold=0.1))


def test_alphas_that_do_not_do_what_the_method_is_named_for_are_said_on_the_screen(tmp_path, capsys):
    flags = ["--dataset", "shapes", "--n", "8", "--part", "all", "--quick", "--max-new-tokens", "2"]
    flags += ["--policy", "adaptvis", "--alpha-unsure", "1.2", "--alpha-sure", "0.9", "--out", str(tmp_path)]
    assert adaptvis(["evaluate", *flags]) == 0
    said = capsys.readouterr()
    assert (
        "note: AdaptVis with alpha_unsure=1.2, which is above 1, does not smooth where the model is unsure" in said.err
    )
    assert "note: AdaptVis with alpha_sure=0.9, which is below 1, does not sharpen where the model is sure" in said.err
    assert "threshold=0.4; does not smooth; does not sharpen)" in said.out
    summary, page = json.loads((tmp_path / "summary.json").read_text()), (tmp_path / "report.html").read_text()
    assert len(summary["policies"]["adaptvis"]["caveats"]) == 2 and summary["policies"]["baseline"]["caveats"] == []
    assert "does not smooth where the model is unsure." in page and "does not sharpen where the model is sure." in page
