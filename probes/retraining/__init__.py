"""Retraining: a method's claim put to the test, by small models trained with it and without."""
