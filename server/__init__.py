"""The central coordinator."""

import shared as shared  # switches Flower's telemetry off before Flower is imported
