"""The commands of konsil-client, one module per group."""
