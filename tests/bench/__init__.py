"""Measures Packhouse beside its peers, with what a real `npm install` asks; see scripts/bench.

`corpus` is what was recorded, `recording` records it, `uplink` answers from it. `peers/` are the
servers, `stage` starts, fills and checks them, `wrk` asks. `rows/` are the measurements, `rounds`
alternates, `figures` compares with goals; `table`, `chart` and `page` write it down. Nothing here
imports proxy/: Packhouse is measured as the program it is.
"""
