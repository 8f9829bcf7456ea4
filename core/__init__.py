"""What every part stands on: settings, logging, errors, clock, spool format, Celery app. Imports nothing of ours."""
