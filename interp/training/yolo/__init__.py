"""How the embedded detector was made."""
