"""Figures of heads: layers down, heads across. They draw what they are given, and compute nothing."""
