package plugin

import (
	"strings"
	"testing"
)

// TestDecodeAllocations: what each call costs before anything is done.
func TestDecodeAllocations(t *testing.T) {
	id := strings.Repeat("0123456789abcdef", 4)
	body := `{"ID":"` + id + `","Parent":"` + id + `","MountLabel":"","StorageOpt":{}}`
	for _, c := range []struct {
		what string
		most float64
		do   func() error
	}{
		{"a call's JSON", 18, func() error {
			_, err := decodeLayer(strings.NewReader(body))
			return err
		}},
		{"ApplyDiff's query", 5, func() error {
			_, err := decodeQuery("id=" + id + "&parent=" + id)
			return err
		}},
	} {
		got := testing.AllocsPerRun(50, func() {
			if err := c.do(); err != nil {
				t.Fatal(err)
			}
		})
		if got > c.most {
			t.Errorf("%s: %v allocations, want at most %v", c.what, got, c.most)
		}
	}
}
