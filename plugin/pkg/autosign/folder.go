package autosign

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/signer"
)

// folder is where keys are kept as BIND's files; "" is none.
type folder string

// key reads a key that is known to be there.
func (f folder) key(zone dnsname.Name, alg signer.Algorithm, tag uint16) (*signer.Key, error) {
	k, err := signer.ReadFiles(filepath.Join(string(f), signer.FileName(zone, alg, tag)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("a file of a key that the zone is signed with is gone: %w", err)
	}
	return k, err
}

// paths gives the files of all keys of a zone, without their endings, in order.
func (f folder) paths(zone dnsname.Name) ([]string, error) {
	entries, err := os.ReadDir(string(f))
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, e := range entries {
		if base, private := strings.CutSuffix(e.Name(), ".private"); private && strings.HasPrefix(base, signer.FilePrefix(zone)) {
			paths = append(paths, filepath.Join(string(f), base))
		}
	}
	return paths, nil
}

// generate makes a key, which is on the disk before anybody uses it.
func (f folder) generate(zone dnsname.Name, alg signer.Algorithm, role signer.Role) (*signer.Key, error) {
	k, err := signer.Generate(zone, alg, role)
	if err != nil || f == "" {
		return k, err
	}
	return k, k.WriteFiles(string(f), time.Now())
}
