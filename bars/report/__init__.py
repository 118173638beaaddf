"""Tables, figures, claims, the audit of the paper's arithmetic, and the page that holds them all."""
