"""Removing pixels that a policy lets go, never rows and never to make room; read `run` first."""
