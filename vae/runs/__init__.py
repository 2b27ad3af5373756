"""The run folder: records, locks, atomic files, sweeps and trackers."""
