#!/bin/sh
# Starts one service of the image: its settings come from the file that init wrote for it, unless already set.
set -eu
service=$1
if [ -r /run/yunku/environment ]; then
  set -a
  . /run/yunku/environment
  set +a
fi
exec python -m "services.$service"
