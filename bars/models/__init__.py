"""Networks: the cell template, the supernet, derived networks, and baselines (BARS Sec. 4.1)."""
