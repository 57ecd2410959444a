package test

import (
	"testing"

	"github.com/trustdns/trustdns/test/server"
)

func TestMain(m *testing.M) { server.Main(m) }
