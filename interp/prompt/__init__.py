"""Prompts: their words, their tokens, and what each position stands for."""
