"""File system primitives; they know nothing of asynclive."""
