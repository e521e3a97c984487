"""Simulated CT: a drawn trunk, the scanners that see it, and the archive with its outlines of the liver."""
