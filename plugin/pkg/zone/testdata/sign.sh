#!/bin/sh
# Signs unsigned.zone in three ways, with new Ed25519 keys that are thrown away.
# Needs dnssec-keygen and dnssec-signzone (Debian: bind9, bind9-utils).
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

sign() { # ZONE OPTION...: the options choose the kind of denial
	zone=$1
	shift
	dnssec-keygen -q -K "$work" -a ED25519 -f KSK "$zone" >&2
	dnssec-keygen -q -K "$work" -a ED25519 "$zone" >&2
	{
		cat unsigned.zone
		grep -hv '^;' "$work/K$zone".*.key
	} >"$work/zone"
	dnssec-signzone -q -O full -K "$work" -d "$work" -s 20260101000000 -e 20380101000000 -o "$zone" "$@" \
		-f "$work/signed" "$work/zone" >&2
	{
		echo "; Written by sign.sh from unsigned.zone; do not edit."
		tr -s '\t' ' ' <"$work/signed" | sed -n '/ IN SOA /p'
		tr -s '\t' ' ' <"$work/signed" | sed '/^;/d; / IN SOA /d' | LC_ALL=C sort
	} >"$zone.zone"
}

sign nsec.example
sign nsec3.example -3 -
sign optout.example -3 beef -H 5 -A
