package authority

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/zonedb"
)

// maxWarnings is how many warnings of one load are logged.
const maxWarnings = 20

// report logs and counts what came of a load.
func report(r zonedb.Report) {
	origin := r.Spec.Origin
	if r.Err == nil { // else they are in the error
		for i, w := range r.Warnings {
			if i == maxWarnings {
				log.Warningf("%s: %d more warnings", origin, len(r.Warnings)-i)
				break
			}
			log.Warningf("%s: %s", origin, w)
		}
	}
	result := "ok"
	switch {
	case r.Err != nil:
		result = "error"
		loadErrors.Inc()
		reportFailure(r)
	default:
		reportVersion(r)
	}
	loadSeconds.WithLabelValues(result).Observe(r.Duration.Seconds())
}

func reportFailure(r zonedb.Report) {
	if r.Snapshot == nil {
		log.Errorf("%s: not loaded, answering SERVFAIL: %s", r.Spec.Origin, oneLine(r.Err))
		return
	}
	log.Errorf("%s: not loaded, serial %d stays in service: %s", r.Spec.Origin, r.Snapshot.Serial(), oneLine(r.Err))
}

func reportVersion(r zonedb.Report) {
	origin, serial, records := r.Spec.Origin, r.Snapshot.Serial(), r.Snapshot.Records()
	switch {
	case r.Ignored:
		log.Warningf("%s: took serial %d, %d records from the store in %s; the file %s was changed since it was read as the seed, and is ignored",
			origin, serial, records, r.Duration, r.Spec.Path)
	case r.Stored:
		log.Infof("%s: took serial %d, %d records from the store in %s", origin, serial, records, r.Duration)
	case r.Previous == nil && r.File != serial:
		log.Infof("%s: loaded serial %d, %d records in %s: serial %d of the file", origin, serial, records, r.Duration, r.File)
	case r.Previous == nil:
		log.Infof("%s: loaded serial %d, %d records in %s", origin, serial, records, r.Duration)
	case r.Lowered && r.Spec.Signing == nil:
		log.Warningf("%s: nothing but the serial was changed in the file, to %d, which is not later than %d: that stays in service", origin, r.File, serial)
	case r.Snapshot == r.Previous:
		log.Infof("%s: the file is right again, serial %d is in service", origin, serial)
	case r.File != serial && r.Spec.Signing != nil: // whose serials are our own
		log.Infof("%s: loaded serial %d, %d records in %s: serial %d of the file", origin, serial, records, r.Duration, r.File)
	case r.File != serial:
		log.Warningf("%s: loaded as serial %d, %d records in %s: serial %d in the file is not later than %d, which was in service",
			origin, serial, records, r.Duration, r.File, r.Previous.Serial())
	case serial.After(r.Previous.Serial()):
		log.Infof("%s: loaded serial %d after %d, %d records in %s", origin, serial, r.Previous.Serial(), records, r.Duration)
	default:
		log.Warningf("%s: loaded serial %d after %d, which is not later, and signed: secondaries see no change; %d records in %s",
			origin, serial, r.Previous.Serial(), records, r.Duration)
	}
}

// committed counts a commit.
func committed(took time.Duration, err error) {
	result := "ok"
	if err != nil {
		result = "error"
	}
	commitSeconds.WithLabelValues(result).Observe(took.Seconds())
}

// signed logs and counts what came of signing a zone.
func signed(r zonedb.SignReport) {
	origin := r.Zone.Spec().Origin
	signaturesTotal.Add(float64(r.Signatures))
	for _, e := range r.Events {
		log.Infof("%s: %s", origin, e)
	}
	if r.Err == nil {
		return
	}
	signErrors.Inc()
	if serial := "none"; repeats.allow(string(origin), r.Err.Error(), time.Now()) {
		if s := r.Zone.Snapshot(); s != nil {
			serial = fmt.Sprintf("serial %d", s.Serial())
		}
		log.Errorf("%s: %s; %s stays in service", origin, oneLine(r.Err), serial)
	}
}

// repeats keeps what fails again and again from filling the log.
var repeats = repetitions{told: make(map[string]telling)}

// oneLine gives an error that joins several in one line.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// limiter keeps strangers from filling the log.
type limiter struct {
	mu     sync.Mutex
	second int64
	lines  int // in that second
}

// refusalLines is how many lines a second tell of refused transfers.
const refusalLines = 5

// allow tells whether one more line may be written now.
func (l *limiter) allow(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := now.Unix(); s != l.second {
		l.second, l.lines = s, 0
	}
	l.lines++
	return l.lines <= refusalLines
}

// repetitions knows what was logged of whom.
type repetitions struct {
	mu   sync.Mutex
	told map[string]telling
}

type telling struct {
	text string
	when time.Time
}

// Bounds of what is known of errors that repeat: of how many zones, and for how long.
const (
	maxTold = 10_000
	oldTold = time.Hour
)

// allow tells whether a line about somebody is to be written: it is another than the
// one before, or that was long ago.
func (r *repetitions) allow(who, text string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.told[who]; t.text == text && now.Sub(t.when) < oldTold {
		return false
	}
	if len(r.told) >= maxTold {
		clear(r.told)
	}
	r.told[who] = telling{text, now}
	return true
}
