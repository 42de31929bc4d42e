"""Objects: samples, the objects they name, and the boxes that are given for these."""
