#!/usr/bin/env python3
"""schema_2.py: what schema_1.py says, of data of schema 2."""

import schema_1

if __name__ == "__main__":
    schema_1.moves.run(schema=2)
