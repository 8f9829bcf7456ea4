"""What every part stands on: settings, logging, errors, clock, spool format and the Celery app. Imports nothing of ours."""
