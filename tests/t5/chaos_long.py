#!/usr/bin/env python3
"""chaos_long.py: chaos.py in its long form, for make check-faults."""

import os
import sys

os.environ["CB_CHAOS"] = "long"
os.environ.setdefault("CB_TEST_TIMEOUT", "1700")
os.execv(sys.executable, [sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "chaos.py"), *sys.argv[1:]])
