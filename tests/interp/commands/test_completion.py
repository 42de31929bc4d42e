"""`spatial-lens completion` prints a script with which a shell completes commands, options and files."""

import shutil
import subprocess

import pytest
from entry_points import declared

from interp.commands.completion import FILES, FOLDERS, SHELLS, _actions
from interp.commands.spatial_lens import build_parser

pytest.importorskip("shtab", reason="the completion of shells needs shtab, and it is not installed")

BASH = r"""
source "$1"; shift
complete -p spatial-lens >/dev/null || exit 3
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
$(complete -p spatial-lens | sed 's/.*-F \([^ ]*\).*/\1/') spatial-lens "${COMP_WORDS[COMP_CWORD]}" ""
printf '%s\n' "${COMPREPLY[@]}"
"""
ZSH = 'autoload -Uz compinit; compinit -D -u; eval "$(<{script})" && print -r -- $_comps[spatial-lens]'
FISH = "source {script}; complete --do-complete {line}"


@pytest.fixture
def script(tmp_path, capsys):
    """The script of a shell, in a file."""

    def write(shell):
        door = build_parser(declared())
        options = door.parse_args(["completion", shell])
        assert options.command(options) == 0
        path = tmp_path / f"spatial-lens.{shell}"
        path.write_text(capsys.readouterr().out, encoding="utf-8")
        return path

    return write


def run_in(shell, *arguments, cwd):
    """What a shell prints, which must not complain."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    done = subprocess.run([shell, *arguments], cwd=cwd, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize(
    "words, some, others",
    [
        (["a"], {"analyze", "answer"}, {"overlap"}),
        (["probes", ""], {"balance", "rope"}, {"analyze"}),
        (["evaluate", "--pol"], {"--policy"}, {"--part"}),
        (["completion", "f"], {"fish"}, {"bash"}),
        (["analyze", "--prompt", ""], {"chat", "paper", "raw"}, {"photo.jpg"}),
        (["analyze", ""], {"photo.jpg", "photos"}, set()),
        (["overlap", "--out", "ph"], {"photos"}, {"photo.jpg"}),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, list) else "",
)
def test_bash_completes_commands_options_choices_and_files(script, tmp_path, words, some, others):
    path = script("bash")
    (tmp_path / "photo.jpg").touch()
    (tmp_path / "photos").mkdir()
    found = set(run_in("bash", "-c", BASH, "bash", str(path), "spatial-lens", *words, cwd=tmp_path).split())
    assert some <= found and not others & found


def test_zsh_knows_the_script(script, tmp_path):
    assert run_in("zsh", "-f", "-c", ZSH.format(script=script("zsh")), cwd=tmp_path).strip()


def test_fish_completes_commands_and_options(script, tmp_path):
    path = script("fish")

    def completed(line):
        said = run_in("fish", "--no-config", "-c", FISH.format(script=path, line=f"'{line}'"), cwd=tmp_path)
        return {one.split("\t")[0] for one in said.splitlines()}

    assert {"analyze", "answer"} <= completed("spatial-lens a")
    assert "--policy" in completed("spatial-lens evaluate --pol")


@pytest.mark.parametrize("shell", SHELLS)
def test_every_command_is_in_the_script_of_every_shell(script, shell):
    text = script(shell).read_text(encoding="utf-8")
    assert all(name in text for name in ("analyze", "selfcheck", "evaluate", "balance", "doctor"))


def test_what_is_said_to_be_a_file_or_folder_is_an_option():
    known = {action.dest for action in _actions(build_parser(declared()))}
    assert set(FILES + FOLDERS) <= known
