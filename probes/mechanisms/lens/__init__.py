"""What image tokens decode to on their way."""
