"""Google Calendar on a laptop, over HTTP: for tests, benchmarks and people who want to try things.

Refuses to share code with the client side: nothing here imports `calendar_pipeline` or `api`, so that
what the sandbox lists is independent evidence of what a synced copy should hold.
"""
