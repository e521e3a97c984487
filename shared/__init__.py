"""What coordinator and hospital must agree on.

Importing it switches telemetry off, Flower's and Ray's: nothing of Konsil dials out.
"""

import os

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
