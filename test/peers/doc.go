// Package peers tests install.sh, the script that brings the programs which
// trustdns is compared with.
package peers
