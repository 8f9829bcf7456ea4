"""Data sets: what lies in them, whose images they are, who is on which side, and their pixels."""
