"""Interventions: value objects that say what is edited where."""
