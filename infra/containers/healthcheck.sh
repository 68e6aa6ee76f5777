#!/bin/sh
# Whether the container's service is alive, by its own /healthz.
set -eu
[ ! -r /run/yunku/environment ] || . /run/yunku/environment
exec python -c "import sys, urllib.request as r; r.urlopen('http://127.0.0.1:' + sys.argv[1] + '/healthz', timeout=3)" "${YUNKU_OPS_PORT:-7001}"
