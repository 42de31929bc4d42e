"""Installation: what this toolkit stands on, part by part, and which of it is missing, too old or broken.

Nothing here needs a library to be there: what is looked for is also what may be missing. Nothing asks the network.
"""

from __future__ import annotations

import importlib
import io
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path
from typing import Literal

from interp.model.versions import LIBRARIES, proved_versions, public
from interp.store.parsing import parse_json
from interp.zoo import EMBEDDED, EMBEDDED_DETECTORS, embedded_path

DISTRIBUTION = "spatial-lens"

EXTRAS = {
    "yolo": "YOLO detectors, shapes-detector among them",
    "onnx": "detectors in .onnx files",
    "smollm": "a real language model to test on, interp.zoo.smollm",
    "interactive": "the notebooks, in Jupyter",
    "docs": "the docs site: make docs",
    "dev": "tests and lint: make test, make lint",
}
"""What each extra of pyproject.toml is for."""

MODULES = {"pillow": "PIL", "griffelib": "griffe", "import-linter": "importlinter", "pyyaml": "yaml"}
"""Names to import where they are not those of the distribution."""

BROWSERS = ("chromium", "chromium-browser", "google-chrome")

VARIABLES = {
    "HF_HUB_OFFLINE": "1: models are taken from the cache alone",
    "TRANSFORMERS_OFFLINE": "1: the same",
    "HF_HOME": "where the cache of the hub and the token lie",
    "HF_HUB_CACHE": "where the cache of the hub lies",
    "HF_ENDPOINT": "another hub",
    "HF_TOKEN": "for gated models",
    "CUDA_VISIBLE_DEVICES": "which GPUs may be used",
    "OMP_NUM_THREADS": "threads on the CPU",
    "MPLBACKEND": "how figures are drawn; Agg needs no screen",
}
"""What changes what happens here. Of a token only whether it is set is told."""

State = Literal["fine", "note", "broken"]


@dataclass(frozen=True)
class Part:
    """One part of an installation.

    Attributes:
        group: which kind of part.
        name: which of them.
        said: what was found.
        state: `fine`; `note`, worth to know, and all that is needed works; or `broken`, and something needed does not.
        mend: the line that installs it, or what to do; empty where there is nothing to do.
    """

    group: str
    name: str
    said: str
    state: State = "fine"
    mend: str = ""


@dataclass(frozen=True)
class Requirement:
    """A line of pyproject.toml: a distribution, the bounds of its version, and the extra that wants it."""

    name: str
    bounds: tuple[tuple[str, str], ...]
    extra: str = ""

    def __str__(self) -> str:
        """As pip takes it."""
        return self.name + ",".join("".join(bound) for bound in self.bounds)


def look() -> list[Part]:
    """Look over everything, in the order in which it is told."""
    return [part for find in (_python, _libraries, _devices, _models, _optional, _environment) for part in find()]


def requirements() -> list[Requirement]:
    """What this toolkit is declared to need; nothing where it runs from a folder and is not installed."""
    try:
        return [read_requirement(line) for line in requires(DISTRIBUTION) or ()]
    except PackageNotFoundError:
        return []


def read_requirement(line: str) -> Requirement:
    """Read a line of the metadata, of the kinds that our pyproject.toml has.

    Example:
        >>> str(read_requirement('ultralytics>=8.4.140; extra == "yolo"'))
        'ultralytics>=8.4.140'
    """
    wanted, _, marker = line.partition(";")
    name = re.match(r"[\w.-]+", wanted.strip())
    extra = re.search(r"extra == ['\"]([\w-]+)['\"]", marker)
    bounds = re.findall(r"(>=|<)\s*([\w.]+)", wanted)
    return Requirement(name[0] if name else wanted, tuple(sorted(bounds, reverse=True)), extra[1] if extra else "")


def _python() -> Iterator[Part]:
    """Python, the system, and this toolkit itself."""
    yield Part("python", "system", platform.platform())
    try:
        own, wanted = version(DISTRIBUTION), metadata(DISTRIBUTION)["Requires-Python"]
    except PackageNotFoundError:
        said = "runs from a folder and is not installed, so what it needs can not be told"
        yield Part("python", DISTRIBUTION, said, "broken", "pip install -e . in the folder of pyproject.toml")
        own, wanted = "", ""
    bounds = tuple(re.findall(r"(>=|<)\s*([\w.]+)", wanted or ""))
    good = _within(platform.python_version(), bounds)
    mend = "" if good else f"make a new environment with Python {wanted}"
    yield Part("python", "Python", f"{platform.python_version()}, {sys.prefix}", "fine" if good else "broken", mend)
    if own:
        yield Part("python", DISTRIBUTION, own)


def _libraries() -> Iterator[Part]:
    """Each library that is needed: imported, as one that is there and does not load is of no use."""
    for wanted in requirements():
        if not wanted.extra:
            if flaw := _flaw(wanted):
                yield Part("libraries", wanted.name, flaw, "broken", f"pip install '{wanted}'")
            elif flaw := _unloadable(wanted.name):
                yield Part("libraries", wanted.name, flaw, "broken", f"pip install --force-reinstall '{wanted}'")
            else:
                yield _standing(wanted, _version(wanted.name))


def _standing(wanted: Requirement, here: str) -> Part:
    """A library that works, and how its version stands to those that are proved."""
    said = f"{here} ({wanted})"
    if wanted.name not in LIBRARIES:
        return Part("libraries", wanted.name, said)
    proved = sorted({entry["versions"][wanted.name] for entry in proved_versions()}, key=_numbers)
    listed = ", ".join(proved) or "none yet"
    if public(here) in proved:
        return Part("libraries", wanted.name, f"{said}; proved: {listed}")
    between = proved and _numbers(proved[0]) < _numbers(here) < _numbers(proved[-1])
    verdict = "between these" if between else "not proved: python -m interp selfcheck --all-families proves it here"
    return Part("libraries", wanted.name, f"{said}; proved: {listed}; {verdict}", "fine" if between else "note")


def _flaw(wanted: Requirement) -> str:
    """Why what is installed of a distribution is not what is wanted; empty where it is."""
    here = _version(wanted.name)
    if not here:
        return "is not installed"
    return "" if _within(here, wanted.bounds) else f"{here} is not {wanted}"


def _version(name: str) -> str:
    """The version of a distribution; empty where it is not there, or its metadata is broken."""
    try:
        return version(name) or ""
    except (PackageNotFoundError, KeyError):
        return ""


def _unloadable(name: str, load: Callable[[], object] | None = None) -> str:
    """Why a library can not be imported; empty where it can."""
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            load() if load else importlib.import_module(MODULES.get(name, name.replace("-", "_")))
    except Exception as error:  # a broken library fails in whatever way it likes
        return f"can not be imported ({' '.join(f'{type(error).__name__}: {error}'.split())[:200]})"
    return ""


def _within(here: str, bounds: tuple[tuple[str, str], ...]) -> bool:
    """Whether a version lies in its bounds."""
    return all((_numbers(here) >= _numbers(bound)) == (sign == ">=") for sign, bound in bounds)


def _numbers(one: str) -> list[int]:
    """The numbers of a release, to put versions in order: zeros at the end make no difference."""
    found = [int(number) for number in re.findall(r"\d+", re.match(r"[\d.]*", public(one))[0])]  # type: ignore[index]
    while found and not found[-1]:
        found.pop()
    return found


def _devices() -> Iterator[Part]:
    """Where a model can run, with how much memory."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = ""
    with suppress(AttributeError, ValueError, OSError):  # not every system tells
        memory = f", {_gib(os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE'))} of memory"
    try:
        import torch

        threads = f", torch uses {torch.get_num_threads()} threads"
    except Exception:
        yield Part("devices", "cpu", f"{cores} cores{memory}; torch could say more")
        return
    yield Part("devices", "cpu", f"{cores} cores{memory}{threads}")
    built = torch.version.cuda or getattr(torch.version, "hip", None)
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            own = torch.cuda.get_device_properties(number)
            yield Part("devices", f"cuda:{number}", f"{own.name}, {_gib(own.total_memory)}{_free(number)}")
    elif built:
        yield Part(
            "devices", "cuda", f"torch is built for it ({built}), and finds no GPU: models run on the CPU", "note"
        )
    if torch.backends.mps.is_available():
        yield Part("devices", "mps", "the GPU of this Mac")


def _free(number: int) -> str:
    """How much memory of a GPU is free, where it tells."""
    import torch

    try:
        return f", {_gib(torch.cuda.mem_get_info(number)[0])} free"
    except RuntimeError:  # in use by another process alone, or full
        return ", in use"


def _gib(count: int) -> str:
    """Bytes as people say them."""
    return f"{count / 2**30:.1f} GiB"


def _models() -> Iterator[Part]:
    """The embedded models, whose files have to be whole."""
    for name in EMBEDDED + EMBEDDED_DETECTORS:
        place = embedded_path(name)
        files = sorted(place.iterdir()) if place.is_dir() else [place]
        weights = [path for path in files if path.suffix == ".safetensors"]
        flaws = [flaw for path in files if (flaw := _cut_off(path))] if weights else ["has no weights"]
        mend = "take these files anew from the repository, or install this package again" if flaws else ""
        said = "; ".join(flaws) or f"whole, {sum(path.stat().st_size for path in files) / 2**20:.1f} MiB"
        yield Part("embedded models", name, said, "broken" if flaws else "fine", mend)


def _cut_off(path: Path) -> str:
    """What is wrong with a file of a model, empty where nothing is; weights are to be as long as their header says."""
    try:
        if path.suffix == ".json":
            parse_json(path.read_text(encoding="utf-8"))
        if path.suffix == ".safetensors":
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                header = parse_json(file.read(min(length, path.stat().st_size)))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
            if path.stat().st_size != 8 + length + max(ends):
                return f"{path.name} is cut off"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{path.name} can not be read ({type(error).__name__})"
    return ""


def _optional() -> Iterator[Part]:
    """What is there of the extras, and a browser."""
    for extra in dict.fromkeys(wanted.extra for wanted in requirements() if wanted.extra):
        flaws = {wanted.name: _flaw(wanted) for wanted in requirements() if wanted.extra == extra}
        lost = [f"{name} {flaw}" for name, flaw in flaws.items() if flaw] or _broken_extra(extra)
        what = EXTRAS.get(extra, "")
        mend = f"pip install '{DISTRIBUTION}[{extra}]', or in its folder pip install -e '.[{extra}]'" if lost else ""
        yield Part("optional", extra, "; ".join([what, *lost]), "note" if lost else "fine", mend)
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    said = browser or "Chromium is not there: the tests of the page to explore skip; the page opens in any browser"
    yield Part("optional", "browser", said, "fine" if browser else "note")


def _broken_extra(extra: str) -> list[str]:
    """Why the library of an extra does not load; ultralytics is loaded so that it asks no network."""
    if extra == "yolo":

        def load() -> object:
            from interp.detect.yolo.containment import load_ultralytics

            return load_ultralytics()

        return [flaw for flaw in (_unloadable("ultralytics", load),) if flaw]
    return [flaw for flaw in (_unloadable("onnxruntime"),) if flaw] if extra == "onnx" else []


def _environment() -> Iterator[Part]:
    """Variables that are set, or not, and the cache of the hub."""
    for name, what in VARIABLES.items():
        value = os.environ.get(name)
        shown = "not set" if value is None else "set" if "TOKEN" in name else repr(value)
        yield Part("environment", name, f"{shown} ({what})")
    with suppress(Exception):
        from huggingface_hub.constants import HF_HUB_CACHE

        there = "" if Path(HF_HUB_CACHE).is_dir() else ", not there yet"
        yield Part("environment", "cache of the hub", f"{HF_HUB_CACHE}{there}")
