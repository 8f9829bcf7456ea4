"""Looking again, with a new champion, at images of studies that nobody has reviewed."""
