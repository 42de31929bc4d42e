"""Stepped questions: spatial questions with their steps, answers and functions; read, made, split and asked."""
