"""Pursuit, the open goal mode: what a goal is and how it moves. No Celery, no web framework here."""

__version__ = "0.1.0"
