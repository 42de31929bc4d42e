"""What every test shares: one torch thread a worker, checked shapes, no network, and where the test assets lie."""

import os
import signal
import sys
from pathlib import Path

# Before anything imports torch: two workers with many threads each are slower than two with one.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))
os.environ.update(dict.fromkeys(("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"), "1"))
os.environ.update(TOKENIZERS_PARALLELISM="false", MPLBACKEND="Agg", WANDB_MODE="disabled", YOLO_OFFLINE="1")

# A run in the background, or under nohup, inherits signals that are ignored; commands leave those as they are.
for _name, _usual in {
    "SIGINT": signal.default_int_handler,
    "SIGTERM": signal.SIG_DFL,
    "SIGHUP": signal.SIG_DFL,
}.items():
    if hasattr(signal, _name):
        signal.signal(getattr(signal, _name), _usual)

import checked_shapes  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402
from PIL import Image  # noqa: E402

# Before anything of ours is imported, by whatever test.
checked_shapes.install()

# The same examples every time, and no deadline: a busy machine is not a bug.
settings.register_profile("steady", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("steady")

REPO = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repo() -> Path:
    """The root of the repository."""
    return REPO


@pytest.fixture(scope="session")
def assets() -> Path:
    """Photos, boxes and weights that lie beside the repository and are not part of it."""
    folder = REPO.parent / "shared" / "assets"
    if not folder.is_dir():
        pytest.skip(f"needs the test assets, and {folder} is absent")
    return folder


_PIL_OPEN, _PRINT_OPTIONS = Image.open, np.get_printoptions()


@pytest.fixture(autouse=True)
def undisturbed():
    """What another test's direct import of ultralytics changed, or its open figures, are not this test's matter."""
    Image.open = _PIL_OPEN
    np.set_printoptions(**_PRINT_OPTIONS)
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(scope="session")
def checkpoint_processor():
    """The image processor of the LLaVA-1.5 checkpoint itself."""
    from transformers import CLIPImageProcessor

    return CLIPImageProcessor(size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336})
