"""Evaluation: policies on samples or on a benchmark, their settings given or chosen."""
