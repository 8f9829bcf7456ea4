"""`lungwatch demo`: a day's worth of odd studies through the whole of it, each accounted for."""
