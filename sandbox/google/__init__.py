"""What Google's OAuth and Calendar v3 do, as far as a calendar sync can notice. Effects live in `routes`."""
