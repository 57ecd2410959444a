package authority

import (
	"context"
	"slices"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/autosign"
	"github.com/trustdns/trustdns/plugin/pkg/kasp"
	"github.com/trustdns/trustdns/plugin/pkg/parent"
	"github.com/trustdns/trustdns/plugin/pkg/zonedb"
)

// parents asks servers of parent zones, for all blocks of the process.
var parents = parent.NewClient(parent.Options{})

// watchParents begins to ask the parents of signed zones for the DS records that keys
// wait for. It gives nil if no zone of the block wants that.
func (b *block) watchParents() *parent.Watcher {
	if !slices.ContainsFunc(b.directives, func(d *directive) bool {
		s, ok := d.spec.Signing.(autosign.Settings)
		return ok && s.Parent != ""
	}) {
		return nil
	}
	return parent.Watch(parent.WatchOptions{Client: parents, Pending: b.pending, Report: b.parentSays})
}

// pending gives the zones of the block whose keys wait for the parent.
func (b *block) pending() (list []parent.Pending) {
	for origin, z := range *b.zones.Load() {
		s, ok := z.spec.Signing.(autosign.Settings)
		if !ok || s.Parent == "" {
			continue
		}
		if k, ok := z.zone.Signer().(*autosign.Keeper); ok && len(k.Status(time.Now()).Parents) > 0 {
			addresses, _ := s.Parents()
			list = append(list, parent.Pending{Zone: origin, Servers: addresses})
		}
	}
	return list
}

// parentTime bounds the commit of what the parent has said.
const parentTime = time.Minute

// parentSays has the keys of a zone learn what the servers of the parent have.
func (b *block) parentSays(r parent.Report) {
	z := (*b.zones.Load())[r.Zone.Fold()]
	if z == nil {
		return
	}
	if r.Err != nil {
		signErrors.Inc()
		log.Warningf("%s: the parent was asked for DS records: %s", r.Zone, oneLine(r.Err))
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), parentTime)
	defer cancel()
	for {
		learned := false
		err := z.zone.Maintain(ctx, "parent", func(s zonedb.Signer) (err error) {
			k, ok := s.(*autosign.Keeper)
			if !ok {
				return zonedb.ErrUnsigned
			}
			learned, err = learn(k, &r.Result, time.Now())
			return err
		})
		if err != nil {
			signErrors.Inc()
			log.Errorf("%s: what the parent has of DS records could not be taken up: %s", r.Zone, oneLine(err))
		}
		if err != nil || !learned {
			return
		}
	}
}

// learn tells a keeper of one DS record that it waits for; ok is false if there is none
// that the parent has, or has no longer, everywhere.
func learn(k *autosign.Keeper, r *parent.Result, now time.Time) (ok bool, err error) {
	for _, p := range k.Status(now).Parents {
		switch {
		case p.Appear && everywhere(r, p):
			return true, k.DSSeen(p.Key, now, r.TTL())
		case !p.Appear && nowhere(r, p):
			return true, k.DSGone(p.Key, now, 0)
		}
	}
	return false, nil
}

// isOf tells whether a DS record is of a key. One with another digest than SHA-256
// counts as well.
func isOf(ds string, p kasp.Parent) bool {
	const digest = 3 // behind key tag (2) and algorithm
	return len(ds) > digest && ds[:digest] == p.DS[:digest] && (ds[digest] != p.DS[digest] || ds == p.DS)
}

func everywhere(r *parent.Result, p kasp.Parent) bool {
	for _, s := range r.Servers {
		if s.Err == nil && !slices.ContainsFunc(s.DS, func(ds string) bool { return isOf(ds, p) }) {
			return false
		}
	}
	return r.Err() == nil
}

func nowhere(r *parent.Result, p kasp.Parent) bool {
	for _, s := range r.Servers {
		if slices.ContainsFunc(s.DS, func(ds string) bool { return isOf(ds, p) }) {
			return false
		}
	}
	return r.Err() == nil
}
