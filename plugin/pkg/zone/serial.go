package zone

import "time"

// Serial is a zone's version number. It lives on a circle (RFC 1982): only its
// methods compare serials, never < or >.
type Serial uint32

// After tells whether s is later than o (RFC 1982 §3.2). Serials that are 2^31
// apart are later than each other in neither direction.
func (s Serial) After(o Serial) bool {
	d := uint32(s - o)
	return d != 0 && d < 1<<31
}

// Next gives the serial after s, leaving out 0, which some software takes for
// no serial (RFC 2136 §4.2).
func (s Serial) Next() Serial {
	if s++; s == 0 {
		return 1
	}
	return s
}

// SerialPolicy says which serial the next version of a zone gets. The zero value
// is Increment.
type SerialPolicy uint8

// Policies.
const (
	Increment SerialPolicy = iota // the serial after the present one
	UnixTime                      // seconds since 1970
	Date                          // YYYYMMDDnn in UTC, nn from 00 on
)

// Next gives the serial of the version after the one with serial s, at a time.
// It is later than s in any case: where the clock says otherwise it is s.Next.
func (p SerialPolicy) Next(s Serial, now time.Time) Serial {
	wanted := s.Next()
	switch p {
	case Increment:
	case UnixTime:
		wanted = Serial(now.Unix())
	case Date:
		y, m, d := now.UTC().Date()
		wanted = Serial(((y*100+int(m))*100 + d) * 100)
	}
	if wanted == 0 || !wanted.After(s) {
		return s.Next()
	}
	return wanted
}
