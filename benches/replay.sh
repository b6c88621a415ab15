#!/usr/bin/env bash
# Whole processes side by side: bolo, cryo and ethereum-etl on the same blocks. `benches/replay.sh --help` has all that it measures.
exec python3 "$(dirname "${BASH_SOURCE[0]}")/replay.py" "$@"
