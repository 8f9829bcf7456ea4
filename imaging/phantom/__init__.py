"""Procedural radiographs, for the demo and the tests: no picture of a person ships with the code."""
