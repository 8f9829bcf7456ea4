"""What is spooled before it is answered: instances, and requests for storage commitment."""
