"""From photos to batches of faces."""
