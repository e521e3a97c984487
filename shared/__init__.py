"""What coordinator and hospital must agree on.

Importing it switches off whatever would dial out: Flower's and Ray's telemetry, and Flower's check for updates, which
sends the versions of this host. The programs we start inherit it.
"""

import os

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
os.environ["FLWR_DISABLE_UPDATE_CHECK"] = "1"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
