package cookie

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"github.com/trustdns/trustdns/plugin/pkg/cookie"
)

// maxSecretFile bounds a file of secrets, in octets, and maxSecrets the secrets of a
// server block: each may cost a hash for a request.
const (
	maxSecretFile = 1 << 16
	maxSecrets    = 16
)

// own is the secret of the process, for all server blocks that give none. It outlives
// reloads.
var own cookie.Rotation

// block is the settings of one server block.
type block struct {
	place    string // of the directive
	require  cookie.Policy
	rotate   uint32    // seconds
	rotateAt string    // place of the property; "" if it is not given
	keys     keyHolder // nil without the plugin keys
	limited  bool      // the plugin ratelimit is there: what the policy wants goes by its limits
	lines    []line    // of the property secret; none: the process has a secret of its own
	current  atomic.Pointer[cookie.Secrets]
	known    atomic.Pointer[[]*listener]
}

// line is a line with the property secret.
type line struct {
	place    string
	secret   cookie.Secret
	file     *file // in place of secret; or nil
	previous bool
}

// secrets gives those that are in use at a time.
func (b *block) secrets(now uint32) *cookie.Secrets {
	if s := b.current.Load(); s != nil {
		return s
	}
	return own.Secrets(now, b.rotate)
}

// compose puts the secrets together that the lines have, the one that makes cookies in
// front, and takes them in use.
func (b *block) compose() error {
	var sign []cookie.Secret
	var verify []cookie.Secret
	for _, l := range b.lines {
		secrets := []cookie.Secret{l.secret}
		if l.file != nil {
			secrets = l.file.secrets
		}
		if !l.previous {
			sign, secrets = append(sign, secrets[0]), secrets[1:]
		}
		verify = append(verify, secrets...)
	}
	switch {
	case len(b.lines) == 0:
		return nil
	case len(sign) != 1:
		return fmt.Errorf("%s: %d secrets make cookies, want one line \"secret\" without \"previous\"", b.place, len(sign))
	case len(verify) >= maxSecrets:
		return fmt.Errorf("%s: %d secrets, want %d at most", b.place, 1+len(verify), maxSecrets)
	}
	b.current.Store(cookie.NewSecrets(sign[0], verify...))
	return nil
}

// digest identifies the content of a file, or why it could not be read.
type digest [sha256.Size]byte

// file is a file of secrets.
type file struct {
	path    string
	secrets []cookie.Secret // in use
	seen    digest          // at the last look
	judged  digest          // of what was taken, or refused, last
	stale   bool            // that was refused
}

// openFile reads a file for the first time.
func openFile(path string) (*file, error) {
	f := &file{path: path}
	data, got, err := f.read()
	f.seen, f.judged = got, got
	if err == nil {
		f.secrets, err = cookie.ParseSecrets(data)
	}
	if err != nil {
		return nil, f.wrap(err)
	}
	return f, nil
}

func (f *file) wrap(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return err
	}
	return fmt.Errorf("%s: %w", f.path, err)
}

// look reads the file and gives its content if two looks have seen the same, so that
// nobody is writing, and it is new.
func (f *file) look() (data []byte, settled bool, err error) {
	data, got, err := f.read()
	settled = got == f.seen && got != f.judged
	f.seen = got
	if settled {
		f.judged = got
	}
	return data, settled, err
}

// read reads the file.
func (f *file) read() ([]byte, digest, error) {
	data, err := readFile(f.path)
	if err != nil {
		return nil, sha256.Sum256([]byte("\x00" + err.Error())), err
	}
	return data, sha256.Sum256(data), nil
}

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // to open a pipe would block
		return nil, errors.New("not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxSecretFile {
		return nil, fmt.Errorf("larger than %d octets", maxSecretFile)
	}
	return data, nil
}

// exposed tells whether others than the owner and the group may read or write a file.
func exposed(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().Perm()&0o006 != 0
}
