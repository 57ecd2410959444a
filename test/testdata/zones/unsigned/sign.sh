#!/bin/sh
# Writes the signed zones beside this folder from their sources here and the keys in ../keys.
# Ed25519 signatures, fixed times and fixed salts give the same bytes on each run.
# Needs dnssec-signzone (Debian: bind9-utils). With -k it makes new keys first.
set -eu
cd "$(dirname "$0")"
keys=$(realpath ../keys)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ "${1:-}" = -k ]; then
	rm -f "$keys"/K*
	for zone in nsec.example nsec3.example optout.example .; do
		dnssec-keygen -q -K "$keys" -a ED25519 -f KSK "$zone" >&2
		dnssec-keygen -q -K "$keys" -a ED25519 "$zone" >&2
	done
fi

sign() { # ZONE SOURCE TARGET OPTION...: the options choose the kind of denial
	zone=$1 source=$2 target=$3
	shift 3
	{
		cat "$source"
		grep -hv '^;' "$keys/K${zone%.}".+015+*.key
	} >"$work/zone"
	dnssec-signzone -q -O full -K "$keys" -d "$work" -s 20260101000000 -e 20380101000000 -o "$zone" "$@" \
		-f "$work/signed" "$work/zone" >&2
	{
		echo "; Written by unsigned/sign.sh; do not edit."
		tr -s '\t' ' ' <"$work/signed" | sed -n '/ IN SOA /p'
		tr -s '\t' ' ' <"$work/signed" | sed '/^;/d; / IN SOA /d' | LC_ALL=C sort
	} >"$target"
}

sign nsec.example nsec.example.zone ../nsec.example.zone
sign nsec3.example nsec.example.zone ../nsec3.example.zone -3 -
sign optout.example nsec.example.zone ../optout.example.zone -3 beef -H 5 -A
sign . root.zone ../root/root.zone
