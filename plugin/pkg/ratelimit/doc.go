// Package ratelimit decides which requests and responses are too many, in fixed
// memory, without a lock where accounts are known, and without allocation.
//
// Responses have accounts, as in BIND: one for each network, class of response, and
// name. An account gets so many responses a second and may be in debt for at most a
// window of time. Requests have counters, as in Knot DNS: one for each of several
// networks that the sender is in, from its own address to its large network, which
// decay exponentially. Both tables are hashed with a secret of their own.
//
//	request ──► Request ──► lookup ──► Response ──► wire
//	               │                       │
//	            counters                accounts           the tables of fixed size
//	               └──── limited? ─────────┤
//	                                       ├─ acting: networks limited of late
//	                                       ├─ logged: those that the log has named
//	                                       └─ offenders: those limited most
//
// The package knows neither messages nor names of metrics, and time is an argument.
package ratelimit
