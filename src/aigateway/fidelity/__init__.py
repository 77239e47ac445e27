"""What a translation between the Responses API and chat carries, changes, drops and refuses, field by field."""

from aigateway.fidelity.row import DOCUMENTS, Row, row_for
from aigateway.fidelity.table import TABLE

__all__ = ["DOCUMENTS", "Row", "TABLE", "row_for"]
