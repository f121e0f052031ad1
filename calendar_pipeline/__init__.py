"""Calendar Pipeline: an exact, replayable record of people's calendars, and what acts on it."""

__version__ = "0.1.0"
