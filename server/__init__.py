"""The central coordinator."""
