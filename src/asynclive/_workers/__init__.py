"""Worker threads, their priorities, and fairness between them."""
