"""What a worker counts about itself, what it looks up in the ledger, and the endpoint that shows both."""
