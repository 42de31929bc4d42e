"""Contents of image tokens put together or taken away, with and without their order."""
