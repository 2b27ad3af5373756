"""What this project is fast at, and how fast: `make bench`, see docs/source/performance.md."""
