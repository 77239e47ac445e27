"""What a translation between two APIs carries, changes, drops and refuses, field by field."""

from aigateway.fidelity.pairs import PAIRS
from aigateway.fidelity.row import Direction, Row, row_for
from aigateway.fidelity.table import DIRECTIONS, TABLE

__all__ = ["DIRECTIONS", "Direction", "PAIRS", "Row", "TABLE", "row_for"]
