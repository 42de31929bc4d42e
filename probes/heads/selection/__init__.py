"""Selection: which heads serve a function, how few they are, where they lie, and whether scorers agree on them."""
