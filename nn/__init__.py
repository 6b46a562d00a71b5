"""Recurrent networks from cells: modules, layers, losses, optimizers."""
