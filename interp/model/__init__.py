"""Model: a hooked vision-language model, loaded, checked, asked and recorded."""
