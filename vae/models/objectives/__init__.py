"""Objectives: how the terms of a model make a loss, one class for each file of `configs/objective/`."""
