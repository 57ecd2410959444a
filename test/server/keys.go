package server

import (
	"fmt"
	"slices"
	"strings"
)

// Key is a TSIG key (RFC 8945). Keys of one server that have the same name are the same.
type Key struct {
	Name      string // with or without the final dot
	Algorithm string // of RFC 8945 section 6, without a final dot: "hmac-sha256"
	Secret    string // in Base64
}

// knotKeys writes the keys and the access lists of knotd's configuration, and returns the names of the lists: an entry
// without a key is for unsigned requests only.
func knotKeys(b *strings.Builder, keys []Key) (acls []string) {
	if len(keys) > 0 {
		b.WriteString("key:\n")
	}
	for _, k := range keys {
		fmt.Fprintf(b, "  - id: %q\n    algorithm: %s\n    secret: %q\n", k.Name, k.Algorithm, k.Secret)
	}
	b.WriteString("acl:\n  - id: all\n    address: 127.0.0.0/8\n    action: transfer\n")
	acls = []string{"all"}
	for i, k := range keys {
		id := fmt.Sprintf("key%d", i)
		fmt.Fprintf(b, "  - id: %s\n    address: 127.0.0.0/8\n    key: %q\n    action: transfer\n", id, k.Name)
		acls = append(acls, id)
	}
	return acls
}

// keys returns the keys of zones, each once.
func keys(zones []Zone) (list []Key) {
	for _, z := range zones {
		if z.Key != nil && !slices.Contains(list, *z.Key) {
			list = append(list, *z.Key)
		}
	}
	return list
}
