"""Reads, edits and replaces dvc.yaml."""
