"""Maps: attention of the language model and of the vision tower as maps over the image."""
