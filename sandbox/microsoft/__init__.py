"""What Entra ID and Microsoft Graph do, as far as a calendar sync can notice. Effects live in `wire` and `push`."""
