"""Metrics of a gateway, for Prometheus and whoever reads its format."""

from aigateway.metrics.meter import Meter
from aigateway.metrics.scrape import Metrics

__all__ = ["Meter", "Metrics"]
