"""From files to Examples: pictures, row shapes, sources, and what was left out and why."""
