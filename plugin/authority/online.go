package authority

import (
	"errors"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/onlinesign"
)

// failures bounds the lines about keys that do not sign.
var failures limiter

// sign signs the part of the answer that comes from z, if its answers are signed as
// they are made (RFC 9824). The part is the last.
func (t *task) sign(z *served, part onlinesign.Part) error {
	if !t.query.DO {
		return nil
	}
	s := z.online()
	if s == nil {
		return nil
	}
	now := time.Now()
	if t.hurry {
		return s.CompleteKnown(t.pin(z), &t.query, &t.answer, part, now)
	}
	err := s.Complete(t.pin(z), &t.query, &t.answer, part, now)
	if err != nil && !errors.Is(err, onlinesign.ErrBusy) && failures.allow(now) {
		log.Errorf("%s: answers cannot be signed: %v", z.origin, err)
	}
	return err
}
