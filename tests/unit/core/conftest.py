"""Properties are checked without a stopwatch: a busy machine is no failure."""

import hypothesis

hypothesis.settings.register_profile("busy", deadline=None)
hypothesis.settings.load_profile("busy")
