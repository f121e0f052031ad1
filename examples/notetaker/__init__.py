"""Notetaker: people connect their calendars and choose which meetings a bot joins. Knows the public API and no more."""
