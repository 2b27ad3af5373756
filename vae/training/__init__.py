"""Training with PyTorch Lightning: the module, its callbacks, resuming, precision and distributed training."""
