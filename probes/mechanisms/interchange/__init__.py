"""Interchange interventions: activations of one run put into another."""
