"""CPU cost of the served gateway beside bare applications; run as `python -m bench`."""
