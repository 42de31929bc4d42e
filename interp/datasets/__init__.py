"""Samples to ask about: real data sets' readers, folders of one's own photos, and synthetic scenes."""

from interp.datasets.benchmarks.catalogue import BENCHMARKS, benchmark
from interp.datasets.benchmarks.check import Check, check_dataset, list_benchmarks
from interp.datasets.benchmarks.entry import Benchmark
from interp.datasets.benchmarks.hub import download_dataset
from interp.datasets.benchmarks.prompts import compare_prompts, summarize_prompts
from interp.datasets.benchmarks.reading import read_dataset
from interp.datasets.own.folder import questions_from_boxes, read_folder
from interp.objects.sample import Object, Sample
from interp.prompt.templates import paper_prompt, where_in_photo, where_in_relation

__all__ = [
    "BENCHMARKS",
    "Benchmark",
    "Check",
    "Object",
    "Sample",
    "benchmark",
    "check_dataset",
    "compare_prompts",
    "download_dataset",
    "list_benchmarks",
    "paper_prompt",
    "questions_from_boxes",
    "read_dataset",
    "read_folder",
    "summarize_prompts",
    "where_in_photo",
    "where_in_relation",
]
