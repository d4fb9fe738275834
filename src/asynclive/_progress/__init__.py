"""Progress bars, drawn from events."""
