"""The commands of konsil-server, one noun per file."""
