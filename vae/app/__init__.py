"""The web page behind `make app`."""
