#!/usr/bin/env bash
# Prove on a Docker Engine that `docker compose up localstack` is the same cloud as `make up`.
#
#   localcloud/docker/verify.sh [BASE_IMAGE] [-- COMMAND...]
#
# BASE_IMAGE  what the image is built on: python:3.13-slim, or any Debian or Ubuntu that has
#             python3.13 with venv, useradd and CA certificates. It is pulled if it is not here.
# COMMAND     what must pass against the cloud, instead of `make deploy e2e`
#
# It has a project, a volume and ports of its own, so that a running cloud is undisturbed, and
# removes all of them at its end. The image orderflow-localcloud stays.
set -euo pipefail
cd "$(dirname "$0")/../.."

export BASE_IMAGE=python:3.13-slim
if [[ $# -gt 0 && $1 != -- ]]; then BASE_IMAGE=$1; shift; fi
if [[ ${1:-} == -- ]]; then shift; fi
if [[ $# -eq 0 ]]; then set -- make deploy e2e; fi

export COMPOSE_PROJECT_NAME=orderflow-verify
export ORDERFLOW_PORT=${ORDERFLOW_PORT:-4766} ORDERFLOW_POSTGRES_PORT=${ORDERFLOW_POSTGRES_PORT:-5666}
ORDERFLOW_STATE=$(mktemp -d)
export ORDERFLOW_STATE
endpoint=http://127.0.0.1:$ORDERFLOW_PORT

compose() { if docker compose version >/dev/null 2>&1; then docker compose "$@"; else docker-compose "$@"; fi; }
say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
fail() { echo "verify: $*" >&2; exit 1; }
same() { [[ $2 == "$3" ]] || fail "$1 is '$2' and should be '$3'"; echo "$1: $2"; }
inspect() { docker inspect --format "$2" "$(compose ps -q "$1")"; }
sql() { compose exec -T postgres bash -c 'exec "$(find /opt/orderflow -path "*/pginstall/bin/psql")" -X -A -t -h 127.0.0.1 -p "$1" -U orders -d orders -c "$2"' - "$ORDERFLOW_POSTGRES_PORT" "$1"; }

finish() {
    code=$?
    if [[ $code -ne 0 ]]; then compose logs --tail=30 || true; fi
    compose down --volumes --timeout 30 >/dev/null 2>&1 || true
    rm -rf "$ORDERFLOW_STATE"
    if [[ $code -eq 0 ]]; then say "verified"; else say "NOT verified"; fi
}
trap finish EXIT

up() {
    local began=$SECONDS
    compose up -d localstack 2>&1 | grep -v '^$'
    until [[ $(inspect localstack '{{.State.Health.Status}}') == healthy ]]; do
        [[ $((SECONDS - began)) -lt 90 ]] || fail "localstack is not healthy after 90 s"
        sleep 0.5
    done
    echo "healthy after $((SECONDS - began)) s"
}

say "engine"
docker version --format 'client {{.Client.Version}}, server {{.Server.Version}}' || fail "no Docker Engine answers"
echo "compose $(compose version --short)"

say "image, on $BASE_IMAGE"
docker image inspect "$BASE_IMAGE" >/dev/null 2>&1 || docker pull "$BASE_IMAGE" \
    || fail "$BASE_IMAGE cannot be pulled; name one that is here"
began=$SECONDS
docker build --quiet --network host --build-arg BASE_IMAGE="$BASE_IMAGE" --tag orderflow-localcloud localcloud
echo "built in $((SECONDS - began)) s, $(docker image inspect --format '{{.Size}}' orderflow-localcloud | awk '{printf "%.0f MB", $1 / 1e6}') with its base"

say "up"
up
for service in localstack postgres; do
    same "$service runs as" "$(compose exec -T "$service" id -un)" orderflow
    same "$service is" "$(inspect "$service" '{{.State.Health.Status}}')" healthy
    same "$service has sockets mounted" "$(inspect "$service" '{{range .Mounts}}{{.Source}} {{end}}' | grep -c 'sock' || true)" 0
done
same "published on" "$(inspect postgres '{{range .NetworkSettings.Ports}}{{range .}}{{.HostIp}} {{end}}{{end}}' | tr ' ' '\n' | sort -u | xargs)" 127.0.0.1
curl --silent --fail "$endpoint/_localstack/health" >/dev/null || fail "$endpoint does not answer from the host"

say "$*"
began=$SECONDS
"$@"
echo "passed in $((SECONDS - began)) s"

say "down and up again: LocalStack forgets, Postgres does not"
tables=$(sql "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
sql "CREATE TABLE kept_by_the_volume (it int)" >/dev/null
began=$SECONDS
compose stop --timeout 30 >/dev/null 2>&1
echo "stopped in $((SECONDS - began)) s"
for service in localstack postgres; do
    same "$service ended with" "$(docker inspect --format '{{.State.ExitCode}}' "$(compose ps -a -q "$service" 2>/dev/null || compose ps -q "$service")")" 0
done
compose down >/dev/null 2>&1
up
same "tables of orders" "$(sql "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")" "$((tables + 1))"
