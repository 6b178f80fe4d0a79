"""Whole brokers in a simulated world: virtual time, a network, a store and a scheduler that one seed decides about.

`docs/simulation.md` tells what is checked and how a failure is replayed.
"""
