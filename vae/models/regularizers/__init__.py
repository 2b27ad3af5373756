"""Regularizers R(q(z|x), p(z)) in nats, one class for each file of `configs/regularizer/`."""
