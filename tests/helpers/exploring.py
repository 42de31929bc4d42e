"""Reading the page to explore in a browser: its link, where a token lies in the window, and what is read out of one."""

from __future__ import annotations

from urllib.parse import parse_qs


def state(page) -> dict[str, str]:
    """What the link names, once it has been written."""
    page.run("new Promise(done => setTimeout(done, 400))")
    return {name: values[0] for name, values in parse_qs(page.run("location.hash.slice(1)")).items()}


def place_of(page, exploration, token) -> tuple[float, float]:
    """The middle of a token in the window."""
    page.run("document.getElementById('stage').scrollIntoView({block: 'center', behavior: 'instant'})")
    frame = page.run("(({x, y, width, height}) => [x, y, width, height])(stage.getBoundingClientRect())")
    x0, y0, x1, y1 = exploration.grid.boxes[token]
    width, height = exploration.image.size
    return frame[0] + (x0 + x1) / 2 / width * frame[2], frame[1] + (y0 + y1) / 2 / height * frame[3]


def readout(page) -> dict[str, float]:
    """The numbers that the page reads out of a token, by measure and run."""
    cells = page.run(
        "[...document.querySelectorAll('#token-rows td')].map(cell => [cell.dataset.key, cell.dataset.value])"
    )
    return {key: float(value) for key, value in cells if value}
