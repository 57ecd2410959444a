package zone

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
