package parent

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
)

const (
	maxResolvers = 3 // as the C library has it
	maxSettings  = 64 << 10
)

// SystemResolvers gives the first three resolvers of /etc/resolv.conf, with port 53. An
// error is that of reading the file, or names a line with what is no address.
func SystemResolvers() ([]netip.AddrPort, error) {
	file, err := os.Open("/etc/resolv.conf")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	list, err := readResolvers(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file.Name(), err)
	}
	return list, nil
}

func readResolvers(r io.Reader) (list []netip.AddrPort, err error) {
	lines := bufio.NewScanner(io.LimitReader(r, maxSettings))
	for n := 1; lines.Scan() && len(list) < maxResolvers; n++ {
		words := strings.Fields(lines.Text())
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		addr, err := netip.ParseAddr(words[1])
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		list = append(list, netip.AddrPortFrom(addr.Unmap(), defaultPort))
	}
	return list, lines.Err()
}
