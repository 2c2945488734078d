"""Optimisers beside Adam, as optax transformations.

SOAP (`soap`), Gauss-Newton steps (`gauss_newton`), and the return to the averaged parameters when the loss leaps
(`rewind`).
"""
