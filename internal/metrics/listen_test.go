package metrics

import (
	"bytes"
	"net"
	"strings"
	"testing"
)

func TestAddresses(t *testing.T) {
	for text, refusal := range map[string]string{
		"":                         "",
		"unix:/run/x/metrics.sock": "",
		"127.0.0.1:9477":           "",
		"127.8.9.10:1":             "",
		"[::1]:65535":              "",
		"[::ffff:127.0.0.1]:9477":  "",

		"unix:metrics.sock":    "absolute path",
		"unix:":                "absolute path",
		"/run/x/metrics.sock":  "want unix:/PATH",
		"9477":                 "want unix:/PATH",
		":9477":                "only loopback",
		"0.0.0.0:9477":         "only loopback",
		"[::]:9477":            "only loopback",
		"192.0.2.1:9477":       "only loopback",
		"localhost:9477":       "only loopback",
		"[::ffff:0.0.0.0]:977": "only loopback",
		"127.0.0.1:0":          "want a port",
		"127.0.0.1:65536":      "want a port",
		"127.0.0.1:http":       "want a port",
	} {
		a, err := ParseAddress(text)
		if refusal != "" {
			if err == nil || !strings.Contains(err.Error(), refusal) {
				t.Errorf("%q: %v, %v", text, a, err)
			}
			continue
		}
		if err != nil || a.String() != text || a.None() != (text == "") {
			t.Errorf("%q: %v, %v", text, a, err)
		}
	}
}

// TestAnAddressThatIsTaken is said, and keeps nobody from his work.
func TestAnAddressThatIsTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := ParseAddress(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	log := quiet()
	log.SetOutput(&out)
	New(Build{}, log).Start(a)()
	if !strings.Contains(out.String(), "no metrics are served") || !strings.Contains(out.String(), l.Addr().String()) {
		t.Errorf("the log has %q", out.String())
	}
}

// TestNowhere: off by default.
func TestNowhere(t *testing.T) {
	New(Build{}, quiet()).Start(Address{})()
}
