"""Finding the faces of cats in photos."""
