"""The command line: Hydra configurations, option types and one-line errors."""
