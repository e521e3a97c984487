"""Evidence beside proof: planted patients, and an attack on the final model (docs/evidence.md)."""
