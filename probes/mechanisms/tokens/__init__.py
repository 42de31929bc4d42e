"""Which positions of a prompt a name means: objects, strips, background, words of the text."""
