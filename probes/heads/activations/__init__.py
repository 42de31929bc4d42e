"""Activations: what each attention head wrote at chosen answer tokens, one vector for each item, layer and head."""
