"""Sums of per-patient gradients, each clipped: what private training may look at, and nothing finer."""
