"""Measures Packhouse with the requests of a real `npm install`; started by scripts/bench.

`trace` records what npm asks, `load` asks it again as fast as it is answered, `processes` reads
from /proc what the answers cost, and `__main__` puts them together. It measures any server that
speaks HTTP: nothing here imports proxy/.
"""
