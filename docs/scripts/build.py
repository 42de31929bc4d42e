"""Write what scripts write of the docs and run their code and the notebooks in place: `make docs` begins with this.

No figure, table or output is made by hand.
"""

from __future__ import annotations

import os
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
os.environ.pop("MPLBACKEND", None)  # in a notebook, figures are shown where the notebook shows them

import matplotlib.pyplot as plt
import nbformat
from adaptvis_page import write_adaptvis
from architecture_page import write_architecture
from files_page import write_files
from heads_page import write_heads
from limits_page import write_limits
from mechanisms_page import write_mechanisms
from nbclient import NotebookClient
from page_code import pages_with_code, write_page
from position_page import write_position
from site_pages import write_datasets

from interp import HookedVLM, analyze
from interp.datasets.synthetic.shapes import shapes
from interp.layers import paper_layers
from interp.model import versions
from interp.plots import plot_heatmaps, plot_overlap_by_layer, plot_photo, plot_share_by_layer
from interp.proof import prove
from interp.proof.report import entry, markdown
from interp.zoo.tiny import TINY

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "docs" / "images"


def draw_readme_picture(path: Path) -> Path:
    """A held-out scene: heat maps with boxes in three layers, share of attention and overlap by layer."""
    vlm = HookedVLM.from_pretrained("shapes-vlm")
    scene = shapes(1, split="test", seed=11, kinds=("relation",))[0]
    analysis = analyze(scene.image, scene.question, model=vlm, detector="shapes-detector", prompt="paper")
    assert analysis.overlap is not None and analysis.found is not None
    cosine, best = analysis.overlap.by_layer("cosine"), analysis.overlap.best_layer("cosine")
    assert best is not None
    layers = sorted({0, *paper_layers(vlm.cfg.n_layers), best})
    figure = plt.figure(figsize=(12.5, 7.4), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(1, 1))
    photo, *panels = top.subplots(1, 1 + len(layers))
    plot_heatmaps(
        analysis.image,
        analysis.grid,
        [analysis.trajectory.image_map(layer=layer) for layer in layers],
        boxes=tuple(analysis.found.boxes),
        titles=[f"layer {layer}, cosine {cosine[layer]:.2f}" for layer in layers],
        axes=panels,
    )
    plot_photo(analysis.image, analysis.grid, photo, boxes=tuple(analysis.found.boxes))
    top.suptitle(
        f"{scene.question.split('?')[0]}? {analysis.answer} ({analysis.confidence:.0%}; gold: {scene.answer})",
        fontsize=11,
    )
    left, right = bottom.subplots(1, 2)
    plot_share_by_layer(analysis.trajectory, left)
    plot_overlap_by_layer(analysis.overlap, right)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
    return path


def run_notebook(path: Path) -> Path:
    """Run a notebook from top to bottom and keep its outputs in it.

    Raises:
        CellExecutionError: a cell failed; the file is then left as it was.
    """
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=600, kernel_name="python3", record_timing=False).execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":  # progress bars and warnings of this machine are nobody else's business
            cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]
    aside = path.with_suffix(".part")
    nbformat.write(notebook, aside)
    return aside.replace(path)


FAMILIES = """# Families

A family is a row of data in `interp/families`: where its layers, projector and vision blocks live, and how its image
tokens lie on the photo. Each is proved on a tiny model of random weights with the real processor of its family, on
photos of several shapes, in float32. This table was written by `make docs`; `python -m interp selfcheck --all-families`
prints it, and `python -m interp selfcheck MODEL` proves a checkpoint of your own.

"""

VERSIONS = """
## Versions

All tests and the self-check of all families passed with these versions: `make floor` installs the lowest that are
declared, `make newest` the newest of everything, each in an environment of its own, and writes its row. Where a claim
fails on loading a model, the error says how your versions stand to these.

"""


def write_families(path: Path) -> Path:
    """Prove every family on its tiny model and write the table."""
    entries = []
    for name in TINY:
        vlm = HookedVLM.from_pretrained(name)
        entries.append(entry(vlm, prove(vlm, name)))
    path.write_text(FAMILIES + markdown(entries) + VERSIONS + versions.markdown(), encoding="utf-8")
    return path


def main() -> None:
    """Rebuild everything."""
    print(write_architecture())
    print(write_families(ROOT / "docs" / "families.md"))
    print(write_adaptvis(ROOT / "docs" / "adaptvis.md"))
    print(write_limits(ROOT / "docs" / "limits.md", IMAGES / "limits" / "looking_and_losing.png"))
    print(write_position())
    print(write_mechanisms())
    print(write_heads())
    print(write_datasets(ROOT / "docs" / "datasets.md"))
    print(write_files(ROOT / "docs" / "files.md"))
    print(draw_readme_picture(IMAGES / "where_it_looks.png"))
    for path in pages_with_code():
        print(write_page(path))
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        print(run_notebook(path))


if __name__ == "__main__":
    main()
