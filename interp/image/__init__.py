"""Image: photos, boxes, and the geometry of image tokens and patches."""
