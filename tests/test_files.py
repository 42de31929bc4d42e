"""Every file and column that a command writes is told of, everything told of is written, and docs/files.md shows it."""

import re
import sys
from pathlib import Path

import pandas as pd
import pytest
from made_up_overlap import made_up_study

from adaptvis.paper.published import compare_with_published
from adaptvis.report import columns as adaptvis_columns
from interp import HookedVLM, examine_overlap
from interp.answers.yesno import yes_no_scores
from interp.commands import columns as interp_columns
from interp.commands.columns import MEASURED, SETTINGS, UNDER, meaning_of
from interp.model.provenance import RUN
from interp.model.record import record
from interp.overlap.map_measures import MAP_MEASURES
from interp.overlap.measures import MEASURES
from interp.overlap.nulls import NULLS
from interp.overlap.report.write import tables_of
from interp.overlap.study.examine import BESIDE
from probes.heads import columns as heads_columns
from probes.mechanisms import columns as mechanisms_columns
from probes.position import columns as position_columns

COLUMNS = {
    "interp": interp_columns,
    "adaptvis": adaptvis_columns,
    "position": position_columns,
    "mechanisms": mechanisms_columns,
    "heads": heads_columns,
}
SMALL = {
    "overlap": (
        "interp",
        "overlap --dataset shapes --n 24 --detector shapes-detector --also two-stage,vision --draws 2",
    ),
    "evaluate": (
        "adaptvis",
        "evaluate --dataset shapes-a --n 60 --select --policy scaling,adaptvis,add --alphas 0.5,2",
    ),
}
"""The same commands on fewer samples."""


@pytest.fixture(scope="module")
def maker():
    """The script that writes the page."""
    pytest.importorskip("jinja2")
    docs = str(Path(__file__).resolve().parent.parent / "docs" / "scripts")
    sys.path.insert(0, docs)
    try:
        import files_page

        yield files_page
    finally:
        sys.path.remove(docs)


@pytest.fixture(scope="module")
def written(maker, tmp_path_factory):
    """The folders that the commands wrote, but for the demo, which has a test of its own and no column of its own."""
    runs = {name: SMALL.get(name, run) for name, run in maker.RUNS.items() if name != "demo"}
    return maker.run_all(tmp_path_factory.mktemp("files"), runs)


@pytest.fixture(scope="module")
def page(repo):
    return (repo / "docs" / "files.md").read_text(encoding="utf-8")


def tables(maker, written):
    """Every table: command, name without ending, and columns; and those that no run of the embedded model has."""
    for command, folder in written.items():
        for path in sorted([*folder.rglob("*.parquet"), *folder.rglob("*.csv")]):
            if "shards" not in path.parts:
                yield command, path.stem, (pd.read_parquet if path.suffix == ".parquet" else pd.read_csv)(path)
    study = made_up_study(120, effect=1.0)
    for name, table in tables_of(study, examine_overlap(study)).items():
        yield "overlap", name, table
    published = compare_with_published(198 / 330, 330, "controlled-a", "llava-1.5", "baseline")
    yield "evaluate", "published", published.rows
    answers = pd.DataFrame({"id": list("ab"), "gold": ["yes", "no"], "predicted": "yes"})
    scores = yes_no_scores(answers.assign(correct=True, correct_paper=True), n=10)
    yield "evaluate", "yes_no", scores.rename(columns={"rule": "scorer"})
    yield "heads-compare", "models", maker.models_of(written["heads-find"])
    demo = ["sample", "layer", "head", "share_image", "share_bos", "image_entropy", "cosine", "mass", "lift", "hit"]
    yield "demo", "attention", pd.DataFrame(columns=[*demo, "area_share", "cosine_even"])


@pytest.mark.slow
def test_every_file_of_every_command_is_told_of(maker, written):
    for command, folder in written.items():
        assert maker.unknown_files(command, folder) == []


@pytest.mark.slow
def test_every_column_is_told_of_and_all_that_is_told_of_is_there(maker, written):
    used = {package: set() for package in COLUMNS}
    for command, name, table in tables(maker, written):
        package = next(one for one, columns in COLUMNS.items() if command in columns.FILES)
        for column in table.columns:
            found = meaning_of(str(column), name, maker.told_of(command))
            assert found is not None, f"{command}: {name} has a column {column!r} of which {package} says nothing"
            used[package].add(found[0])
    for package, columns in COLUMNS.items():
        own = {f"{name}.{column}" for name, those in columns.OWN.items() for column in those}
        sharing = [used[other] for other, those in COLUMNS.items() if those.NAMES is columns.NAMES]
        assert own <= used[package] and set(columns.NAMES) <= set().union(*sharing)
    assert set(MEASURED) <= used["interp"] and {f"<{null}>" for null in UNDER} <= used["interp"]


@pytest.mark.slow
def test_the_page_has_every_column_of_every_table(maker, written, page):
    for command, name, table in tables(maker, written):
        if name != "yes_no":
            part = re.split(r"^## ", page, flags=re.MULTILINE)
            (own,) = [one for one in part if one.startswith(f"{command}\n")]
            missing = [column for column in table.columns if f"`{column}`" not in own]
            assert not missing, (
                f"{command}: {name} has {missing}, and docs/files.md not: run python docs/scripts/files_page.py"
            )


def test_the_page_has_every_file_and_command_and_what_settings_hold(maker, page):
    for command, (package, line) in maker.RUNS.items():
        assert f"python -m {package} {line} --out out/{command}" in page
        for file, what in maker.files_of(command).items():
            assert f"| `{file}` | {what} |" in page, f"{file}: run python docs/scripts/files_page.py"
    for name, what in SETTINGS.items():
        assert f"| `{name}` | {what} |" in page


def test_what_every_record_holds_is_told_of():
    found = record(HookedVLM.from_pretrained("shapes-vlm"))
    assert set(SETTINGS) == {*found, *RUN, "processor", "adapters"}  # the last two where there are some


def test_measures_and_nulls_are_told_of_under_either_order_of_their_names():
    assert set(MEASURED) == {*MEASURES, *MAP_MEASURES} and set(UNDER) == {"even", *NULLS}
    assert meaning_of("even_cosine") == meaning_of("cosine_even") != meaning_of("cosine_shuffled")
    assert meaning_of("no_such_column") is None and meaning_of("share_nowhere") is None


def test_what_overlap_is_held_beside_is_named_wherever_the_regression_is_told_of():
    files = interp_columns.FILES["overlap"]
    texts = [files["partial_effect.parquet"], files["partial_effect.png"], interp_columns.NAMES["adjusted_*"]]
    for text in texts:
        assert all(name.split()[0] in text for name in (*BESIDE, "relation"))


def test_a_column_that_nothing_is_said_of_is_refused_by_the_script(maker):
    with pytest.raises(LookupError, match="samples has a column 'new'"):
        maker.describe(pd.DataFrame({"id": ["a"], "new": [1]}), "samples", "overlap")
