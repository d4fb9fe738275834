"""The command asynclive."""
