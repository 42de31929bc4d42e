"""What CONTRIBUTING.md says of adding things is true: followed to the letter in a copy, all five work."""

import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest

COPIED = ("interp", "adaptvis", "probes", "tests", "docs")
HEAVY = shutil.ignore_patterns("__pycache__", "*.safetensors", "notebooks")
BLOCK = re.compile(r"^```(python|diff|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def how_tos(repo):
    """The parts of the page that add something, by title, each as its blocks: language and text."""
    parts = re.split(r"^## (Add .*)$", (repo / "CONTRIBUTING.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {title: BLOCK.findall(text) for title, text in zip(parts[1::2], parts[2::2], strict=True)}


def follow(folder, language, text):
    """Do what a block says; the path of the file that it changed."""
    first, _, rest = text.partition("\n")
    path = folder / first.removeprefix("# ")
    assert first.startswith("# "), f"a block that is no command begins with a path, not with {first!r}"
    if language == "python":
        assert not path.exists(), f"{path} is there already: change its lines by a diff"
        path.write_text(rest, encoding="utf-8")
    else:
        change(path, rest.splitlines())
    return path


def change(path, lines):
    """Change lines as a diff says: those that it takes away or leaves stand in the file once, one below the other."""
    assert all(line[:1] in "+- " for line in lines)
    before, after = ("".join(f"{line[1:]}\n" for line in lines if line[:1] in f" {own}") for own in "-+")
    text = path.read_text(encoding="utf-8")
    assert text.count(before) == 1, f"{path} has not once: {before}"
    path.write_text(text.replace(before, after), encoding="utf-8")


def run(command, folder):
    """What a command prints in a folder, whose packages are the ones that are imported; it has to succeed."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def followed(repo, tmp_path_factory):
    """A copy of the repository in which all five were added, and the files that this changed."""
    folder = tmp_path_factory.mktemp("contributing")
    for name in COPIED:
        shutil.copytree(repo / name, folder / name, ignore=HEAVY)
    shutil.copy(repo / "pyproject.toml", folder)
    blocks = [block for how_to in how_tos(repo).values() for block in how_to if block[0] != "sh"]
    return folder, [follow(folder, *block) for block in blocks]


def test_the_page_adds_five_things_and_each_ends_with_its_commands(repo):
    found = how_tos(repo)
    assert [title.split()[-1] for title in found] == ["models", "detector", "measure", "intervention", "probe"]
    for title, blocks in found.items():
        assert [language for language, _ in blocks].count("sh") == 1 and blocks[-1][0] == "sh", title
        assert any("tests/" in text for _, text in blocks)


@pytest.mark.parametrize("lines", [["-ours", "+theirs"], [" two", "+three"], ["-one", "-three"]], ids=" ".join)
def test_a_change_of_lines_that_are_not_there_once_is_found(lines, tmp_path):
    path = tmp_path / "file"
    path.write_text("one\ntwo\nthree\ntwo\n")
    with pytest.raises(AssertionError, match="has not once"):
        change(path, lines)
    change(path, [" one", "-two", "+four", " three"])
    assert path.read_text() == "one\nfour\nthree\ntwo\n"


def test_what_is_added_is_in_style_and_in_its_layer(followed):
    pytest.importorskip("importlinter")
    folder, changed = followed
    code = [str(path) for path in changed if path.suffix in (".py", ".pyi")]
    run(["-m", "ruff", "check", *code], folder)
    run(["-m", "ruff", "format", "--check", *code], folder)
    run(["-c", "from importlinter.cli import lint_imports_command as main; main()", "--no-cache"], folder)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["models", "detector", "measure", "intervention", "probe"])
def test_what_is_added_works(what, repo, followed):
    ((_, commands),) = [blocks[-1] for title, blocks in how_tos(repo).items() if title.endswith(what)]
    for command in commands.splitlines():
        python, *arguments = shlex.split(command)
        assert python == "python"
        said = run(arguments, followed[0])
        assert "passed" in said or "pytest" not in command
