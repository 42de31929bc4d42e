"""What vision encoder and language model each do for spatial answers: tools of "The Dual Mechanisms"."""
