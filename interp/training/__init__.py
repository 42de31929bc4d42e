"""Training: how the embedded models were made."""
