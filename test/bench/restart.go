package main

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/trustdns/trustdns/test/server"
)

// restart is what it takes us to serve a zone from a store. Memory is in bytes.
type restart struct {
	zone    string
	filling start   // the first, from the file, which fills the store
	again   []start // from the store
	disk    int64   // octets of the files of the store
}

// start is what one start took.
type start struct {
	took, cpu        time.Duration
	anonymous, files int64 // memory when it answers, in two parts
	peak             int64 // until then
}

// start gives the median of the times from start to answer out of the store, in
// seconds.
func (r *restart) start() float64 {
	return middle(r.again, func(s start) time.Duration { return s.took }).Seconds()
}

// middle gives the median of a value of starts.
func middle[T ~int64](of []start, value func(start) T) T {
	var list []T
	for _, s := range of {
		list = append(list, value(s))
	}
	return median(list)
}

// measures tells whether a server is measured.
func (m *meter) measures(name string) bool {
	return slices.ContainsFunc(m.report.chosen, func(c candidate) bool { return c.name == name })
}

// restart starts our server from a store; when it is called for the first time, it
// fills the store before.
func (m *meter) restart(t *testing.T, s subject, path string) {
	if !m.measures(ours) {
		return
	}
	store := filepath.Join(m.dir, "store")
	once := func() (x start) {
		srv, took, cpu := m.launch(t, func() *server.Server {
			z := server.Zone{Origin: s.origin, File: path}
			return startChain(t, z, fmt.Sprintf("authority %s {\n\t\tfile %s\n\t\tstore %s\n\t}", z.Origin, z.File, store))
		})
		defer srv.Stop()
		x.took, x.cpu = took, cpu
		var err error
		if x.anonymous, x.files, err = proc.split(srv.PID()); err != nil {
			t.Fatal(err)
		}
		if x.peak, err = proc.peak(srv.PID()); err != nil {
			t.Fatal(err)
		}
		return x
	}
	r := &m.report.restart
	if r.zone == "" {
		r.zone, r.filling = s.name, once()
		var err error
		if r.disk, err = folderSize(store); err != nil {
			t.Fatal(err)
		}
		progress("%s: %s fills a store of %.0f MB in %.2f s, with at most %.0f MB", s.name, ours, megabytes(r.disk), r.filling.took.Seconds(), megabytes(r.filling.peak))
	}
	x := once()
	r.again = append(r.again, x)
	progress("%s: %s answers from the store after %.2f s and %.2f s of CPU time", s.name, ours, x.took.Seconds(), x.cpu.Seconds())
}

// folderSize gives the octets of the files in a folder.
func folderSize(dir string) (size int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	return size, err
}
