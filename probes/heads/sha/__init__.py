"""SHA, activating latent spatial heads: the same questions with boxes drawn or told, and objects hidden under grey."""
