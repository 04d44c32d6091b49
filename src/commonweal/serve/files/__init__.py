"""Files that accounts upload and that jobs write: their rows, their bytes as blobs, and how they arrive."""
