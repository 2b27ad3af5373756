"""The variational autoencoder and the parts it is made of."""
