#!/bin/sh
# Says what is wrong with the files of this folder that can't be run on any machine: sh check.sh PROGRAMS
#
# PROGRAMS is a folder of PyPI's check-jsonschema, kubernetes-validate and hadolint. It needs systemd-analyze, too.
set -eu
programs=$(cd "${1:?"usage: sh check.sh PROGRAMS"}" && pwd)
cd "$(dirname "$0")"

"$programs/check-jsonschema" --builtin-schema vendor.compose-spec compose.yaml
"$programs/kubernetes-validate" --strict --quiet kubernetes/*.yaml
"$programs/hadolint" --failure-threshold style Dockerfile

# systemd-analyze looks for the programs, too, which are not installed here; and only warns of a key that there is not.
units=$(mktemp -d)
trap 'rm -r "$units"' EXIT
for unit in systemd/*.service; do
    sed 's|^ExecStart=[^ ]*|ExecStart=/bin/true|' "$unit" > "$units/${unit##*/}"
done
systemd-analyze verify --man=no "$units/chat@connector-1.service" "$units/nats-server.service" 2> "$units/said" ||
    echo "systemd-analyze verify failed" >> "$units/said"
if [ -s "$units/said" ]; then
    cat "$units/said" >&2
    exit 1
fi
for unit in "$units"/*.service; do
    # Of 100, which is 10 in words; less is better.
    systemd-analyze security --offline=yes --threshold=15 --no-pager "$unit" > "$units/said" || {
        cat "$units/said" >&2
        exit 1
    }
done
echo "the files of deploy/ are as they should be"
