"""Tables, figures, claims and the audit of the paper's arithmetic."""
