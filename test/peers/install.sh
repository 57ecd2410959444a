#!/usr/bin/env bash
# Makes sure that the programs are there which tests compare trustdns with.
#
# As root on a machine with apt-get it installs the Debian packages of those that
# are missing. Their services are neither started nor enabled; what was installed
# before is left alone. Otherwise it names what is missing: that is a failure
# where INTEROP=require is set.
set -euo pipefail

# The tests of this script let it work on a folder in place of the real root.
root=${PEERS_ROOT:-}
PATH=$PATH:$root/usr/sbin:$root/sbin

# program or file, and the Debian package that has it
peers="
named                                                          bind9
dnssec-signzone                                                bind9-utils
dig                                                            bind9-dnsutils
delv                                                           bind9-dnsutils
nsupdate                                                       bind9-dnsutils
knotd                                                          knot
kdig                                                           knot-dnsutils
knsupdate                                                      knot-dnsutils
kzonecheck                                                     knot-dnssecutils
nsd                                                            nsd
unbound                                                        unbound
openssl                                                        openssl
ldns-verify-zone                                               ldnsutils
dnsperf                                                        dnsperf
kea-dhcp-ddns                                                  kea-dhcp-ddns-server
lego                                                           lego
certbot                                                        certbot
/usr/lib/python3/dist-packages/certbot_dns_rfc2136/__init__.py python3-certbot-dns-rfc2136
/usr/lib/python3/dist-packages/dns/__init__.py                 python3-dnspython
/usr/share/publicsuffix/public_suffix_list.dat                 publicsuffix
"

# Those that only the benchmarks look at: they go without where there is no such package.
extras="
pdns_server                       pdns-server
/usr/lib/*/pdns/libbindbackend.so pdns-backend-bind
gdnsd                             gdnsd
"

# missing prints the packages of a list whose program or file is not there, each once.
missing() {
	local what package
	while read -r what package; do
		case $what in
		"") continue ;;
		/*) compgen -G "$root$what" >/dev/null || echo "$package" ;;
		*) command -v "$what" >/dev/null || echo "$package" ;;
		esac
	done <<<"$1" | sort -u
}

# install installs the packages of each list given, whatever becomes of the others, and
# keeps their services off.
install() {
	local status=0 list package service init
	policy=$root/usr/sbin/policy-rc.d
	if [ ! -e "$policy" ]; then
		# The scripts of the packages ask it before they start a service.
		trap 'rm -f "$policy"' EXIT
		printf '#!/bin/sh\nexit 101\n' >"$policy"
		chmod 755 "$policy"
	fi
	export DEBIAN_FRONTEND=noninteractive
	apt-get -qq -o DPkg::Lock::Timeout=300 update </dev/null || return
	for list in "$@"; do
		# shellcheck disable=SC2086 # one word for each package
		[ -z "$list" ] || apt-get -qq -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 install --no-install-recommends $list </dev/null || status=$?
	done

	for package in $*; do
		init=yes
		case $package in
		bind9) service=named ;;
		knot | nsd | unbound | kea-dhcp-ddns-server) service=$package ;;
		pdns-server) service=pdns init= ;; # these two come without an init script
		gdnsd) service=gdnsd init= ;;
		certbot) service=certbot.timer init= ;; # elsewhere a line of cron, for certificates that are not there
		*) continue ;;
		esac
		# Not started now, and not at the next boot either.
		if [ -d "$root/run/systemd/system" ]; then
			systemctl disable --now "$service" || status=$?
		elif [ -n "$init" ] && command -v update-rc.d >/dev/null; then
			update-rc.d "$service" disable || status=$?
		fi
	done
	return "$status"
}

packages=$(missing "$peers")
more=$(missing "$extras")
if [ -n "$packages$more" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	echo "peers: installing" $packages $more
	install "$packages" "$more" || echo "peers: the installation failed" >&2
	packages=$(missing "$peers")
	more=$(missing "$extras")
fi
[ -z "$more" ] || echo "peers: the benchmarks go without" $more >&2
if [ -z "$packages" ]; then
	[ -n "$more" ] || echo "peers: all are installed"
	exit
fi
echo "peers: missing" $packages >&2
echo "peers: tests that need them are skipped; as root: apt-get install" $packages >&2
[ "${INTEROP:-}" != require ] || exit 1
