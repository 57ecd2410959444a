package zone_test

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

func TestSerialAfter(t *testing.T) {
	const half = 1 << 31
	for _, tc := range []struct {
		name  string
		s, o  zone.Serial
		after bool
	}{
		{"the next", 2, 1, true},
		{"the one before", 1, 2, false},
		{"the same", 7, 7, false},
		{"over the wrap", 0, math.MaxUint32, true},
		{"over the wrap, far", 1000, math.MaxUint32 - 1000, true},
		{"back over the wrap", math.MaxUint32, 0, false},
		{"the greatest step", half - 1, 0, true},
		{"half the circle away, in one direction", half, 0, false},
		{"half the circle away, in the other", 0, half, false},
		{"more than half the circle away", half + 1, 0, false},
		{"the greatest step over the wrap", half - 2, math.MaxUint32, true},
		{"a date after a Unix time", 2026010101, 1700000000, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := tc.s.After(tc.o); got != tc.after {
				t.Errorf("%d after %d: %v", tc.s, tc.o, got)
			}
		})
	}
}

// TestSerialArithmetic is RFC 1982 §3.1 and §3.2 in 64 bits.
func TestSerialArithmetic(t *testing.T) {
	serial := rapid.OneOf(rapid.Uint32(), rapid.Uint32Range(0, 3), rapid.Uint32Range(math.MaxUint32-3, math.MaxUint32), rapid.Uint32Range(1<<31-2, 1<<31+2))
	rapid.Check(t, func(t *rapid.T) {
		a, b := serial.Draw(t, "a"), serial.Draw(t, "b")
		i1, i2 := uint64(a), uint64(b)
		greater := i1 < i2 && i2-i1 > 1<<31 || i1 > i2 && i1-i2 < 1<<31
		if got := zone.Serial(a).After(zone.Serial(b)); got != greater {
			t.Fatalf("%d after %d: %v", a, b, got)
		}
		next := zone.Serial(a).Next()
		if !next.After(zone.Serial(a)) || next == 0 || next-zone.Serial(a) > 2 {
			t.Fatalf("%d is followed by %d", a, next)
		}
	})
}

func TestSerialNext(t *testing.T) {
	for s, want := range map[zone.Serial]zone.Serial{0: 1, 1: 2, math.MaxUint32 - 1: math.MaxUint32, math.MaxUint32: 1, 1<<31 - 1: 1 << 31} {
		if got := s.Next(); got != want {
			t.Errorf("%d is followed by %d, want %d", s, got, want)
		}
	}
}

func TestSerialPolicy(t *testing.T) {
	now := time.Date(2026, 11, 24, 23, 30, 0, 0, time.FixedZone("", -3600)) // the day after in UTC
	const today = 2026112500
	for _, tc := range []struct {
		policy   zone.SerialPolicy
		from, to zone.Serial
	}{
		{zone.Increment, 1, 2},
		{zone.Increment, 4294967295, 1},
		{zone.UnixTime, 1, zone.Serial(now.Unix())},
		{zone.UnixTime, zone.Serial(now.Unix()), zone.Serial(now.Unix()) + 1},
		{zone.UnixTime, zone.Serial(now.Unix()) + 5, zone.Serial(now.Unix()) + 6},
		{zone.Date, 2026112401, today},
		{zone.Date, today, today + 1},
		{zone.Date, today + 99, today + 100},
		{zone.Date, 4294967295, today}, // on the circle a date is later
	} {
		if got := tc.policy.Next(tc.from, now); got != tc.to {
			t.Errorf("policy %d: %d after %d, want %d", tc.policy, got, tc.from, tc.to)
		}
	}
}
