// Package kasp is the key and signing policy of zones (RFC 6781, 7583).
package kasp
