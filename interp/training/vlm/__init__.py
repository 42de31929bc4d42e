"""How the embedded vision-language model was made."""
