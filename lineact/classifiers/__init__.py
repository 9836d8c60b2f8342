"""Classifiers of crops, of every family that the comparison knows: settings, networks, and one way to train them."""
