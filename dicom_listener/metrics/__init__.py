"""What the listener counts about itself, and the endpoint that shows it."""
