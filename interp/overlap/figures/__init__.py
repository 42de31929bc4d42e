"""The figures of overlap: by layer, against nulls, against answers."""
