"""An association from the accepted connection to its end: who may have one, and its DIMSE messages."""
