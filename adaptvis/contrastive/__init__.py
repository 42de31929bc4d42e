"""Contrastive decoding: VCD and DoLa."""
