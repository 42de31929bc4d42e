"""What reaches a terminal and how commands end: no control characters, no tracebacks, the right exit code."""

import io
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from interp.cli import Parser, numbers, run
from interp.errors import InputError
from interp.quiet import StreamError, clean_streams, spell_out
from interp.store.names import given_path
from interp.store.parsing import parse_json

HOSTILE = {
    "a title": "\x1b]0;PWN\x07",
    "a cleared screen": "\x1b[2J",
    "an eight-bit command": "\x9b2J",
    "a bell": "\x07",
    "backspaces": "safe\x08\x08\x08\x08evil",
    "a line written over": "evil\rsafe",
    "text turned around": "\u202egnp.exe",
    "delete": "\x7f",
}


def command(does):
    """A parser with one command that does this."""
    parser = Parser(prog="test")
    parser.add_argument("--debug", action="store_true")
    parser.set_defaults(command=does)
    return parser


def raising(error):
    def does(options):
        raise error

    return does


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("door", ["print", "note", "error", "table"])
def test_that_no_control_character_reaches_a_terminal_by_any_door(capsys, text, door):
    import pandas as pd

    doors = {
        "print": lambda options: print(f"answer: {text}"),
        "note": lambda options: print(f"note: {text}", file=sys.stderr),
        "error": raising(InputError(f"the photo {text} is not there")),
        "table": lambda options: print(pd.DataFrame({text: [text]}).to_string()),
    }
    run(command(doors[door]), [])
    out, err = capsys.readouterr()
    assert not any(ord(letter) < 32 and letter not in "\n\t" for letter in out + err)
    assert not set("\x7f\x9b\u202e") & set(out + err)
    assert len(out + err) > 4


def test_that_letters_of_any_script_tabs_and_lines_stay():
    text = "Tüte\t杯子\nكوب 🍵 é́"
    assert spell_out(text) == text


def test_that_progress_bars_may_go_back_to_the_start_of_their_line(capsys):
    with clean_streams():
        print("\rasking: 50%", end="", file=sys.stderr)
    assert capsys.readouterr().err == "\rasking: 50%"


def test_that_letters_which_the_stream_lacks_are_spelled_out(monkeypatch):
    buffer = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(buffer, encoding="ascii"))
    assert run(command(lambda options: print("Tüte")), []) == 0
    sys.stdout.flush()
    assert buffer.getvalue() == b"T\\xfcte\n"


ERRORS = {
    "ours": (InputError("no such photo"), 2, "error: no such photo\n"),
    "memory": (MemoryError(), 2, "error: memory ran out: use a smaller --batch"),
    "a fault of ours": (
        KeyError("x"),
        1,
        "error: unexpected KeyError: 'x'; this is a fault of ours",
    ),
    "a file": (OSError(5, "Input/output error", "a"), 1, "error: unexpected OSError"),
    "a long one": (ValueError("x" * 9999), 1, "error: unexpected ValueError: xxx"),
}


@pytest.mark.parametrize("error, code, said", ERRORS.values(), ids=ERRORS)
def test_that_every_error_is_one_line_unless_the_traceback_is_asked_for(capsys, error, code, said):
    assert run(command(raising(error)), []) == code
    err = capsys.readouterr().err
    assert err.startswith(said) and err.count("\n") == 1 and len(err) < 500
    with pytest.raises(type(error)):
        run(command(raising(error)), ["--debug"])


class Full(io.StringIO):
    """A stream on a full disk."""

    def write(self, text):
        raise OSError(28, "No space left on device")


def test_that_standard_output_on_a_full_disk_is_told_once(capsys, monkeypatch):
    monkeypatch.setattr("interp.cli._say_no_more", lambda: None)
    monkeypatch.setattr(sys, "stdout", Full())
    assert run(command(lambda options: print("found")), []) == 2
    assert capsys.readouterr().err == (
        "error: standard output can not be written (No space left on device): free the disk, or send it elsewhere\n"
    )
    with clean_streams(), pytest.raises(StreamError):
        print("found")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_that_a_full_disk_behind_standard_output_ends_a_real_process_with_2():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "interp", "--help"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: standard output can not be written (No space left on device): free the disk, or send it elsewhere"
    ]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_that_a_signal_ends_a_command_as_an_interrupt_does(capsys, name):
    def does(options):
        os.kill(os.getpid(), getattr(signal, name))
        time.sleep(5)

    before = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
    assert run(command(does), []) == 128 + getattr(signal, name)
    assert capsys.readouterr().err == "stopped\n"
    assert {one: signal.getsignal(one) for one in before} == before


def test_that_a_study_stopped_by_a_signal_keeps_what_was_measured(tmp_path, capsys):
    from interp.study.run import read_study
    from tests.helpers.studies import SETTINGS, Asked, same, study

    asked = Asked()

    def ask(batch):
        if len(asked.batches) == 5:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        return asked(batch)

    assert (
        run(command(lambda options: study(tmp_path / "out", ask=ask, flush_seconds=3600)), []) == 128 + signal.SIGTERM
    )
    assert "keeps what was measured: go on with --resume" in capsys.readouterr().err
    assert read_study(tmp_path / "out", partial=True)[0]["id"].nunique() == 10
    same(study(tmp_path / "out", settings=SETTINGS, resume=True), study(None))


def test_that_nohup_stays_what_it_is(capsys):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert run(command(lambda options: os.kill(os.getpid(), signal.SIGHUP)), []) == 0
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_that_commands_run_in_a_thread_leave_signals_alone():
    codes = []
    one = threading.Thread(target=lambda: codes.append(run(command(lambda options: None), [])))
    one.start()
    one.join()
    assert codes == [0]


@pytest.mark.parametrize("text", ["0-9999999", "0-4096", "0-4000,0-4000", "1" * 5000, "x" * 5000, "5-4"])
def test_that_a_list_of_layers_which_no_model_has_is_refused_shortly(text):
    with pytest.raises(InputError) as refused:
        numbers(text)
    assert len(str(refused.value)) < 200


def test_that_lists_of_layers_are_read_up_to_the_deepest_models():
    assert numbers("0-4095") == tuple(range(4096))


@pytest.mark.parametrize("path", ["~nosuchuser/x", "~nosuchuser", "", None, 5, "a\0b", b"x"])
def test_that_a_path_which_is_none_is_refused_by_name(path):
    with pytest.raises(InputError, match="no path|no user 'nosuchuser'|holds what no path can"):
        given_path(path)


@pytest.mark.parametrize("text", ["[" * 200000, '{"a":' * 200000, "[1", ""])
def test_that_json_which_can_not_be_read_is_one_kind_of_error(text):
    with pytest.raises(ValueError):
        parse_json(text)
