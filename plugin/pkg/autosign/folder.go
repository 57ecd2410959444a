package autosign

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/kasp"
	"github.com/trustdns/trustdns/plugin/pkg/signer"
)

// folder is where keys are kept as BIND's files; "" is none.
type folder string

// load reads a key that is known to be there by the name of its files.
func (f folder) load(path string) (*signer.Key, error) {
	k, err := signer.ReadFiles(filepath.Join(string(f), path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("a file of a key that the zone is signed with is gone: %w", err)
	}
	return k, err
}

// paths gives the files of all keys of a zone, without their endings, in order. A key of
// which one file alone is there is among them: it is not to be taken for none.
func (f folder) paths(zone dnsname.Name) ([]string, error) {
	entries, err := os.ReadDir(string(f))
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, e := range entries {
		switch filepath.Ext(e.Name()) {
		case ".key", ".private":
			if strings.HasPrefix(e.Name(), signer.FilePrefix(zone)) {
				paths = append(paths, filepath.Join(string(f), strings.TrimSuffix(e.Name(), filepath.Ext(e.Name()))))
			}
		}
	}
	return slices.Compact(paths), nil // ReadDir sorts: both files of a key follow each other
}

// generate makes a key, which is on the disk before anybody uses it.
func (f folder) generate(zone dnsname.Name, alg signer.Algorithm, role signer.Role) (*signer.Key, error) {
	k, err := signer.Generate(zone, alg, role)
	if err != nil || f == "" {
		return k, err
	}
	return k, k.WriteFiles(string(f), time.Now())
}

// importInto puts the keys of files into a ring, which has none.
func (folder) importInto(r *kasp.Ring, paths []string, now time.Time) error {
	if len(paths) == 0 {
		return nil
	}
	list := make([]kasp.Imported, len(paths))
	for i, path := range paths {
		var err error
		if list[i].Key, err = signer.ReadFiles(path); err != nil {
			return err
		}
		private, err := os.ReadFile(path + ".private")
		if err != nil {
			return err
		}
		state, err := os.ReadFile(path + ".state")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := list[i].Read(path, private, state); err != nil {
			return err
		}
	}
	return r.Import(now, list)
}
