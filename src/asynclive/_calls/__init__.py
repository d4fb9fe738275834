"""Calls in flight: order, back-pressure, completion, notification."""
