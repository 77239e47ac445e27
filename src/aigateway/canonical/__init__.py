"""The neutral form that every translation passes through: items, stream events, and the one accumulator of deltas."""
