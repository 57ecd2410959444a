package zonefile

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// Reasons why the RDATA of LOC is refused.
var (
	errAngle     = errors.New("no angle in range: degrees, minutes, seconds and N, S, E or W")
	errAltitude  = errors.New("no altitude from -100000 to 42849672.95 meters")
	errPrecision = errors.New("no length up to 90000000 meters")
)

// location reads the RDATA of LOC (RFC 1876 §3).
func (s *scanner) location(typ uint16) error {
	latitude, err := s.angle(typ, 90, 'N', 'S')
	if err != nil {
		return err
	}
	longitude, err := s.angle(typ, 180, 'E', 'W')
	if err != nil {
		return err
	}
	const reference = 100000_00 // centimeters that the altitude is counted from below
	altitude, ok := parseMeters(s.tok, true, 42849672_95)
	if !ok || s.kind != word || altitude < -reference {
		return s.fault(typ, "%s: %w", s.token(), errAltitude)
	}
	// Defaults: size 1 m, horizontal precision 10 km, vertical 10 m.
	precisions := [3]byte{0x12, 0x16, 0x13}
	if err := s.next(); err != nil {
		return err
	}
	for i := 0; i < len(precisions) && s.kind == word; i++ {
		cm, ok := parseMeters(s.tok, false, 90000000_00)
		if !ok {
			return s.fault(typ, "%s: %w", s.token(), errPrecision)
		}
		precisions[i] = scientific(cm)
		if err := s.next(); err != nil {
			return err
		}
	}
	s.data = append(append(s.data, 0), precisions[:]...)
	s.data = binary.BigEndian.AppendUint32(s.data, latitude)
	s.data = binary.BigEndian.AppendUint32(s.data, longitude)
	s.data = binary.BigEndian.AppendUint32(s.data, uint32(altitude+reference))
	return nil
}

// angle reads degrees, minutes and seconds, of which the last may be missing,
// and a letter for the half of the earth. It gives thousandths of a second of
// arc from 2^31 on.
func (s *scanner) angle(typ uint16, most int64, plus, minus byte) (uint32, error) {
	limits := [...]int64{most * 1000, 59 * 1000, 59_999}
	weight := int64(3600)
	var sum int64
	for i := 0; ; i++ {
		if s.kind == word && len(s.tok) == 1 && i > 0 {
			letter := s.tok[0] &^ 0x20
			if (letter == plus || letter == minus) && sum <= most*3600_000 {
				if letter == minus {
					sum = -sum
				}
				return uint32(1<<31 + sum), s.next()
			}
		}
		if s.kind != word || i == len(limits) {
			break
		}
		places := 0
		if i == 2 {
			places = 3
		}
		n, ok := parseDecimal(s.tok, places)
		if places == 0 {
			n *= 1000
		}
		if !ok || n > limits[i] {
			break
		}
		sum += n * weight
		weight /= 60
		if err := s.next(); err != nil {
			return 0, err
		}
	}
	return 0, s.fault(typ, "%s: %w", s.token(), errAngle)
}

// parseMeters reads a length in meters, with or without the letter m, and gives
// centimeters.
func parseMeters(tok []byte, signed bool, limit int64) (int64, bool) {
	if n := len(tok); n > 0 && tok[n-1]|0x20 == 'm' {
		tok = tok[:n-1]
	}
	negative := false
	if signed && len(tok) > 0 && (tok[0] == '-' || tok[0] == '+') {
		negative = tok[0] == '-'
		tok = tok[1:]
	}
	n, ok := parseDecimal(tok, 2)
	if negative {
		n = -n
	}
	return n, ok && n <= limit
}

// parseDecimal reads a number with up to that many decimal places and gives it
// in units of the last of them.
func parseDecimal(tok []byte, places int) (int64, bool) {
	whole, fraction, point := bytes.Cut(tok, []byte{'.'})
	if point && (places == 0 || len(fraction) == 0) || len(fraction) > places || len(whole) > 10 {
		return 0, false
	}
	var n int64
	if len(whole) > 0 || !point {
		w, ok := parseNumber(whole, 1e10)
		if !ok {
			return 0, false
		}
		n = int64(w)
	}
	for i := range places {
		n *= 10
		if i < len(fraction) {
			if fraction[i]-'0' >= 10 {
				return 0, false
			}
			n += int64(fraction[i] - '0')
		}
	}
	return n, true
}

// scientific gives centimeters as one digit and an exponent of ten, cutting off
// what is behind the first digit.
func scientific(cm int64) byte {
	exponent := byte(0)
	for cm >= 10 {
		cm /= 10
		exponent++
	}
	return byte(cm)<<4 | exponent
}
