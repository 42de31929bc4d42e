"""Fetching and checking: only what is asked for is fetched, and what is missing is said with how to get it."""

import json

import pytest
from PIL import Image
from rows import photo_bytes, put, said_as_caption, vg_two_rows

from interp.__main__ import main
from interp.datasets import BENCHMARKS, check_dataset, download_dataset, list_benchmarks, read_dataset
from interp.datasets.benchmarks.prompts import read_prompts
from interp.errors import InputError
from interp.prompt.templates import paper_prompt

# The Hub: a snapshot folder made by hand in the layout of the two data sets.


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A fake Hub; gives the list of what was asked of it, and a function that rewrites its files."""
    import huggingface_hub
    import pyarrow as pa
    from pyarrow import parquet

    asked: list[tuple[str, str]] = []
    roots = {
        repo: tmp_path / "hub" / repo.partition("/")[2] for repo in ("ServiceNow/whatsup_all", "AdaptVis/all_datasets")
    }

    def fill(photos: list[dict], prompts: list[dict], part: str, text_part: str) -> None:
        folder, text = roots["ServiceNow/whatsup_all"] / "data", roots["AdaptVis/all_datasets"] / text_part
        folder.mkdir(parents=True, exist_ok=True)
        text.mkdir(parents=True, exist_ok=True)
        half = len(photos) // 2
        for number, some in enumerate((photos[:half], photos[half:])):
            parquet.write_table(pa.Table.from_pylist(some), folder / f"{part}-0000{number}-of-00002.parquet")
        parquet.write_table(pa.Table.from_pylist(prompts), text / "test-00000-of-00001.parquet")

    def fetch(repo_id, *, repo_type, allow_patterns, revision):
        assert repo_type == "dataset"
        asked.append((repo_id, allow_patterns[0]))
        return str(roots[repo_id])

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    return asked, fill


def fill_vg_two(fill, *, ids: bool = True, shift: int = 0, form: str = "JPEG") -> None:
    rows = vg_two_rows()
    photos = [
        {
            "image_options": {"bytes": photo_bytes(image, form), "path": None},
            "caption_options": [caption, "A wrong one"],
        }
        for image, _, caption in rows
    ]
    prompts = [
        {
            "id": row,
            "question": paper_prompt("Where is the man in relation to the tree?"),
            "answer": [rows[(row + shift) % len(rows)][1].capitalize()],
            "image_id": rows[row][0] if ids else None,
        }
        for row in range(len(rows))
    ]
    fill(photos, prompts, "VG_QA_two_obj", "VG_two_obj")


@pytest.mark.parametrize(("ids", "form"), [(True, "JPEG"), (True, "PNG"), (False, "PNG")])
def test_that_a_download_is_complete_and_reads_like_the_authors_files(hub, tmp_path, ids, form):
    asked, fill = hub
    fill_vg_two(fill, ids=ids, form=form)
    annotation, prompts = download_dataset("vg-two", tmp_path / "data")
    assert asked == [
        ("ServiceNow/whatsup_all", "data/VG_QA_two_obj-*.parquet"),
        ("AdaptVis/all_datasets", "VG_two_obj/*.parquet"),
    ]
    samples = read_dataset("vg-two", tmp_path / "data")
    assert annotation.name == "vg_qa_two_obj.json" and check_dataset("vg-two", tmp_path / "data").complete
    assert [sample.answer for sample in samples] == [answer for _, answer, _ in vg_two_rows()]
    groups = [sample.group for sample in samples]
    assert groups[0] == groups[1] != groups[2] and len(set(groups)) == 146  # one per photo, with ids or without
    assert not ids or groups[:3] == ["1", "1", "2"]
    shown = Image.open(samples[4].image)
    assert shown.format == form and shown.convert("RGB").getpixel((0, 0))[0] in (
        2,
        3,
        4,
    )  # photo 3, within JPEG's error
    assert len(read_prompts(prompts)) == 291
    with pytest.raises(InputError, match="is there already"):
        download_dataset("vg-two", tmp_path / "data")


def test_that_data_sets_of_the_hub_which_do_not_belong_together_leave_no_annotation_file(hub, tmp_path):
    fill_vg_two(hub[1], shift=140)
    with pytest.raises(InputError, match="do not belong together"):
        download_dataset("vg-two", tmp_path / "data")
    assert not (tmp_path / "data" / "vg_qa_two_obj.json").exists()


def test_that_controlled_photos_of_the_hub_get_the_names_that_the_reader_knows(hub, tmp_path):
    pairs = [(f"thing {number}", "arm chair") for number in range(103)]
    golds = BENCHMARKS["controlled-a"].options
    rows = [(names, gold) for names in pairs for gold in golds]
    photos = [
        {
            "image_options": {"bytes": photo_bytes(row), "path": None if row else "thing-0_left_of_arm-chair.jpeg"},
            "caption_options": [said_as_caption(names, gold, photo_of=False), "A wrong one"],
        }
        for row, (names, gold) in enumerate(rows)
    ]
    prompts = [{"id": row, "question": "", "answer": [gold.capitalize()]} for row, (_, gold) in enumerate(rows)]
    hub[1](photos, prompts, "Controlled_Images_A", "Controlled_A")
    download_dataset("controlled-a", tmp_path / "data")
    samples = read_dataset("controlled-a", tmp_path / "data")
    assert samples[0].image == tmp_path / "data/controlled_images/thing-0_left_of_arm-chair.jpg"
    assert samples[5].group == "thing 1|arm chair" and samples[5].answer == "right"
    assert check_dataset("controlled-a", tmp_path / "data").complete


def test_that_an_offline_download_is_one_clear_error_and_leaves_nothing(tmp_path):
    with pytest.raises(InputError, match="ServiceNow/whatsup_all can not be fetched from the Hub .*go online"):
        download_dataset("coco-one", tmp_path / "data")
    assert not (tmp_path / "data").exists()
    with pytest.raises(InputError, match="nothing to download"):
        download_dataset("shapes", tmp_path / "data")


def test_that_nothing_is_fetched_unless_it_is_asked_for(hub, tmp_path, capsys):
    asked, fill = hub
    fill_vg_two(fill)
    main(["datasets"])
    main(["datasets", "vg-two", "--folder", str(tmp_path / "data")])
    assert main(["datasets", "vg-two", "--check", "--folder", str(tmp_path / "data")]) == 1
    assert asked == [] and not (tmp_path / "data").exists()
    assert main(["datasets", "vg-two", "--download", "--folder", str(tmp_path / "data")]) == 0
    assert len(asked) == 2 and "vg-two in" in capsys.readouterr().out


# The command line.


def test_that_the_list_holds_every_data_set_with_options_and_licence(capsys):
    assert main(["datasets"]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == list(BENCHMARKS)
    assert "412" in lines[0] and "left/right/on/under" in lines[0] and "MIT" in lines[0]
    assert main(["datasets", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == list_benchmarks()


def test_that_one_entry_says_where_to_get_it_and_what_is_wrong_in_it(capsys):
    assert main(["datasets", "vg-two", "--folder", "there"]) == 0
    said = capsys.readouterr().out
    for words in ("gdown 1sjVG5O3QMY8s118k7kQM8zzDZH12i_95 -O there/vg_qa_two_obj.json", "84 and 215", "CC BY 4.0"):
        assert words in said
    assert main(["datasets", "vg-two", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 291


def test_that_the_check_exits_with_1_until_everything_is_there(tmp_path, capsys):
    rows = [[image, caption, "A wrong one"] for image, _, caption in vg_two_rows()]
    folder = put(tmp_path, rows, "vg_qa_two_obj.json", [f"vg_images/{image}.jpg" for image in range(1, 147)])
    arguments = ["datasets", "vg-two", "--check", "--folder", str(folder)]
    assert main(arguments) == 0 and "complete" in capsys.readouterr().out
    (folder / "vg_images/7.jpg").unlink()
    assert main(arguments) == 1
    said = capsys.readouterr().out
    assert "1 of 146 photos is missing" in said and "vg_images/7.jpg" in said and "NOT complete" in said
    assert main([*arguments, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)["check"]
    assert found["rows"] == 291 and not found["complete"] and found["labels"]["right"] == 137
    assert main(["datasets", "vg-one", "--check", "--folder", str(folder)]) == 1
    assert "holds no vg_qa_one_obj.json" in capsys.readouterr().out


def test_that_changed_answers_and_lost_rows_are_problems(tmp_path):
    rows = [[image, caption, "A wrong one"] for image, _, caption in vg_two_rows()]
    images = [f"vg_images/{image}.jpg" for image in range(1, 147)]
    put(tmp_path, rows[1:], "vg_qa_two_obj.json", images)
    (problem,) = check_dataset("vg-two", tmp_path).problems
    assert "290 samples where 291" in problem
    put(tmp_path, [rows[-1], *rows[1:]], "vg_qa_two_obj.json")
    (problem,) = check_dataset("vg-two", tmp_path).problems
    assert "right 136" in problem and "above 4" in problem
    put(tmp_path, [["x"]], "vg_qa_two_obj.json")
    (problem,) = check_dataset("vg-two", tmp_path).problems
    assert "row 0" in problem


def test_that_options_without_a_name_are_refused(capsys):
    assert main(["datasets", "--check"]) == 2
    assert "name it" in capsys.readouterr().err
    assert main(["datasets", "nothing"]) == 2
    assert "use one of controlled-a" in capsys.readouterr().err
    assert main(["datasets", "shapes-a", "--check"]) == 0
