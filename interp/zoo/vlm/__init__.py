"""The embedded vision-language model of coloured shapes: its weights, and the scripts that train and measure it."""
