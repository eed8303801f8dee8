package vm

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestCopyToTrailer(t *testing.T) {
	end := trailer("NONCE")
	tests := map[string]struct {
		in, out  string
		complete bool
	}{
		"all of it":              {"text\n\x00NONCE\n", "text\n", true},
		"nothing written":        {"\x00NONCE\n", "", true},
		"more after the end":     {"a\x00NONCE\nb", "a", true},
		"the begin of a trailer": {"a\x00NON\x00NONCE\n", "a\x00NON", true},
		"cut off":                {"text", "text", false},
		"cut off in a trailer":   {"text\x00NON", "text\x00NON", false},
	}
	for name, test := range tests {
		for size, reader := range map[string]func(io.Reader) io.Reader{"whole": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader} {
			t.Run(name+" "+size, func(t *testing.T) {
				var out bytes.Buffer
				complete, err := copyToTrailer(&out, reader(strings.NewReader(test.in)), end)
				if err != nil || complete != test.complete || out.String() != test.out {
					t.Errorf("got %q, %v, %v; want %q, %v", out.String(), complete, err, test.out, test.complete)
				}
			})
		}
	}
}

// TestCopyToTrailerStreams makes sure that a test's output appears at once, not when a buffer
// is full.
func TestCopyToTrailerStreams(t *testing.T) {
	in, feed := io.Pipe()
	out, drain := io.Pipe()
	go copyToTrailer(drain, in, trailer("N"))
	for _, text := range []string{"one", "two\x00"} {
		go io.WriteString(feed, text)
		got := make([]byte, 3)
		if _, err := io.ReadFull(out, got); err != nil || string(got) != text[:3] {
			t.Fatalf("got %q, %v", got, err)
		}
	}
}
