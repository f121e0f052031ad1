"""Signals that come close together, and into whatever the main thread is doing: one is enough, none is too many."""

import subprocess
import sys

HURRIED = """
import os, signal, sys, threading
from calendar_pipeline.stopping import on

stopping, over = on((signal.SIGTERM, signal.SIGINT)), []

def pester():
    while not over:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=pester).start()
while not stopping.wait(0.0001):
    pass
for _ in range(100_000):
    stopping.wait(0.0001)
over.append(True)
print("stopped")
"""


def test_a_storm_of_signals_stops_it_and_hangs_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", HURRIED], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "stopped\n"
