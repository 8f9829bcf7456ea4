"""The lungwatch command, one module a command group."""
