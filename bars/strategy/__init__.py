"""The search strategy (BARS Sec. 4.2, 4.3)."""
