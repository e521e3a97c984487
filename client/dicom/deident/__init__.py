"""What may leave the archive, without identities: PS3.15 Annex E."""
