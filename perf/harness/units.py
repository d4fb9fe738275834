"""Bytes in a KiB, a MiB and a GiB."""

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
