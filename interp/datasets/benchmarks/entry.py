"""One entry of the catalogue of benchmarks, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Source:
    """A file that has to be fetched.

    Attributes:
        file: its path below the folder of the data set.
        drive: its Google Drive id, for `gdown`.
        url: its address, where it is not on Google Drive.
        unpack: the command that unpacks it, in that folder.
    """

    file: str
    drive: str = ""
    url: str = ""
    unpack: str = ""

    def command(self, folder: str) -> str:
        """The shell command that fetches and unpacks it."""
        target = f"{folder}/{self.file}"
        fetch = f"gdown {self.drive} -O {target}" if self.drive else f"curl -L {self.url} -o {target}"
        return f"{fetch} && (cd {folder} && {self.unpack})" if self.unpack else fetch


@dataclass(frozen=True)
class Benchmark:
    """One data set, as data.

    Attributes:
        name: what this toolkit calls it.
        title: what it is, with its name in the papers.
        kind: which reader reads it: `controlled`, `captioned`, `statements`, `open`, `scenes` (photos in the file),
            `choices` (with options of each row) or `synthetic`.
        n: number of samples when complete, 0 where that is not known; of a synthetic set, the default.
        options: the answers; empty where the file itself says them.
        photos: what the images are.
        licence: the licence of annotations and images.
        annotations: names that its file may have.
        images: the folder of its images.
        n_objects: objects that a question speaks of; 0 where that differs.
        digits: length of the names of its images, filled with zeros.
        subset: which rows of a file that holds several subsets; of `choices`, whose columns it has.
        sources: what has to be fetched.
        hub: the Hugging Face data set that `--download` reads.
        hub_part: the split or file of it.
        text_hub: the one with the released prompts and image ids, and `text_part`, its configuration.
        prompts: the released prompt file; `prompts_sha256`, its checksum.
        sha256: checksum of the annotation file, where it is known.
        labels: how often each answer is right when complete.
        defects: known defects; rows count from 0.
    """

    name: str
    title: str
    kind: str
    n: int
    options: tuple[str, ...]
    photos: str
    licence: str
    annotations: tuple[str, ...] = ()
    images: str = ""
    n_objects: int = 2
    digits: int = 0
    subset: str = ""
    sources: tuple[Source, ...] = ()
    hub: str = ""
    hub_part: str = ""
    text_hub: str = ""
    text_part: str = ""
    prompts: str = ""
    prompts_sha256: str = ""
    sha256: str = ""
    labels: Mapping[str, int] = field(default_factory=dict)
    defects: tuple[str, ...] = ()

    @property
    def synthetic(self) -> bool:
        """Whether it is drawn on the spot and needs no files."""
        return self.kind == "synthetic"
