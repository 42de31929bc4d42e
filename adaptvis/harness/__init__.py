"""Harnesses: policies and interventions asked by evaluation suites of others."""
