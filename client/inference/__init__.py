"""A finished model on images of this house: judged, and nothing of it leaves."""
