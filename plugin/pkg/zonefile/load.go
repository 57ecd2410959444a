package zonefile

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// What the reader itself warns of, beside the load checks of package zone.
const (
	RuleTTLRange  zone.Rule = "TTL above 2147483647 is taken as 0"
	RuleNoTTL     zone.Rule = "no TTL before the SOA record"
	RuleInherited zone.Rule = "owner left out after the origin was changed"
)

// ErrLimit is what the error of Load wraps for a zone that goes beyond a limit
// of the Options.
var ErrLimit = errors.New("limit reached")

// Options say how a zone is loaded. The zero value has no limits and lets
// warnings pass.
type Options struct {
	Strict     bool // a warning is an error
	MaxRecords int  // resource records in the zone; 0: any number
	MaxRRset   int  // resource records in an RRset; 0: any number
}

// Warning is something doubtful in a zone that is served all the same.
type Warning struct {
	Position
	zone.Problem
}

// String gives "file:line: owner: rule: detail".
func (w Warning) String() string { return w.Position.String() + ": " + w.Problem.String() }

// Error is String: with Options.Strict the warnings are errors.
func (w Warning) Error() string { return w.String() }

// Result is what Load gives.
type Result struct {
	Snapshot *zone.Snapshot // nil after an error
	Warnings []Warning      // in the order of the files
	Files    []string       // that were read or should have been, the main file first
}

// Load reads the master file at path, and what it includes, and makes the zone
// origin of it. The error joins up to ten of type *Error, or with Options.Strict
// of type Warning. The Result has files and warnings also after an error, so
// that a caller can wait for the files to change. Concurrent calls are allowed.
//
// now is the time at which the signatures of a signed zone should be valid; see
// zone.Snapshot.CheckSignatures. Those over SOA and DNSKEY are verified, too. The zero
// time leaves all this out, for zones whose signatures are not those of the file.
func Load(path string, origin dnsname.Name, opt Options, now time.Time) (Result, error) {
	l := loader{opt: opt, builder: zone.NewBuilder(origin)}
	l.builder.MaxRRset = opt.MaxRRset
	s := newScanner(origin)
	s.warn = l.warn
	s.fn = func(r *Record) error {
		err := l.add(r)
		s.stop = l.over != nil || errors.Is(err, ErrLimit)
		return err
	}
	s.scan(path)
	if l.over != nil {
		s.fail(located(path, origin, l.over))
	}
	res := Result{Files: s.files, Warnings: l.warnings}
	if len(s.errs) > 0 {
		return res, errors.Join(s.errs...)
	}
	snap, problems, err := l.builder.Snapshot()
	if err == nil && !now.IsZero() {
		problems = slices.Concat(problems, snap.CheckSignatures(now), verify(snap))
	}
	for _, p := range problems {
		res.Warnings = append(res.Warnings, Warning{Position{File: path}, p})
	}
	locate(path, origin, res.Warnings)
	slices.SortStableFunc(res.Warnings, func(a, b Warning) int {
		return cmp.Or(cmp.Compare(slices.Index(res.Files, a.File), slices.Index(res.Files, b.File)), cmp.Compare(a.Line, b.Line))
	})
	if over, ok := errors.AsType[*zone.LimitError](err); ok {
		return res, located(path, origin, over)
	}
	if err != nil {
		at := Position{File: path}
		switch {
		case errors.Is(err, zone.ErrManySOA):
			at = l.soa
		case errors.Is(err, zone.ErrIterations):
			at = l.nsec3param
		}
		return res, &Error{at, "zone", err}
	}
	if opt.Strict && len(res.Warnings) > 0 {
		return res, joined(res.Warnings)
	}
	res.Snapshot = snap
	return res, nil
}

// joined makes an error of warnings.
func joined(warnings []Warning) error {
	var errs []error
	for _, w := range warnings[:min(len(warnings), maxErrors)] {
		errs = append(errs, w)
	}
	if more := len(warnings) - len(errs); more > 0 {
		errs = append(errs, fmt.Errorf("and %d more warnings", more))
	}
	return errors.Join(errs...)
}

// maxWarnings bounds the warnings of the reader; package zone has a bound of its
// own.
const maxWarnings = 1000

// loader puts records into a Builder.
type loader struct {
	opt      Options
	builder  *zone.Builder
	records  int
	warnings []Warning
	over     *zone.LimitError // an RRset of records that do not stand together has too many
	// Where the last record of these types is.
	soa, nsec3param Position
}

func (l *loader) warn(at Position, p zone.Problem) {
	if len(l.warnings) < maxWarnings {
		l.warnings = append(l.warnings, Warning{at, p})
	}
}

func (l *loader) add(r *Record) error {
	if l.records++; l.opt.MaxRecords > 0 && l.records > l.opt.MaxRecords {
		return fmt.Errorf("more than %d records: %w", l.opt.MaxRecords, ErrLimit)
	}
	switch r.Type {
	case rrset.TypeSOA:
		l.soa = r.Position
	case rrset.TypeNSEC3PARAM:
		l.nsec3param = r.Position
	}
	err := l.builder.Add(r.Owner, r.Type, r.TTL, r.RDATA)
	if err == nil {
		return nil
	}
	if over, ok := errors.AsType[*zone.LimitError](err); ok {
		if over.Owner != r.Owner { // the place of r is not that of the RRset
			l.over = over
			return nil
		}
		return beyond(over)
	}
	return fmt.Errorf("%s %s: %w", r.Owner, typeName(r.Type), err)
}

// beyond gives the error for an RRset of too many records.
func beyond(over *zone.LimitError) error {
	return fmt.Errorf("%s %s: %w: %w", over.Owner, typeName(over.Type), over, ErrLimit)
}

// located gives the same with the place of a record of the RRset.
func located(path string, origin dnsname.Name, over *zone.LimitError) error {
	at := []Warning{{Position{File: path}, zone.Problem{Owner: over.Owner, Type: over.Type}}}
	locate(path, origin, at)
	return &Error{at[0].Position, "record", beyond(over)}
}

// locate finds the lines of the warnings that have none. It reads the file
// again: to keep the place of each record would cost more memory than the zone.
func locate(path string, origin dnsname.Name, warnings []Warning) {
	type sought struct {
		*Warning
		fit int // how well the place fits: 1 owner, 2 and type, 3 and RDATA
	}
	owners := make(map[dnsname.Name][]sought)
	missing := 0
	for i := range warnings {
		if w := &warnings[i]; w.Line == 0 {
			owner := w.Owner.Fold()
			owners[owner] = append(owners[owner], sought{w, 0})
			missing++
		}
	}
	if missing == 0 {
		return
	}
	s := newScanner(origin)
	s.fn = func(r *Record) error {
		list := owners[r.Owner.Fold()]
		for i := range list {
			w := &list[i]
			fit := 1
			if r.Type == w.Type {
				fit = 2
				if w.RDATA == "" || w.RDATA == string(r.RDATA) {
					fit = 3
				}
			}
			if fit > w.fit {
				w.fit, w.Position = fit, r.Position
				if fit == 3 {
					missing--
				}
			}
		}
		s.stop = missing == 0
		return nil
	}
	s.scan(path)
}
