package nvlist

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzDecode holds that Decode takes any bytes, and that what it reads is
// packed to bytes that mean the same.
func FuzzDecode(f *testing.F) {
	for _, tt := range golden {
		data, err := hex.DecodeString(strings.ReplaceAll(tt.hex, " ", ""))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		f.Add(data[:len(data)/2])
	}
	answers, err := filepath.Glob("testdata/*.nvlist")
	if err != nil || len(answers) == 0 {
		f.Fatal(answers, err)
	}
	for _, file := range answers {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := Decode(data)
		if err != nil {
			return
		}
		again, err := Encode(list)
		if err != nil {
			t.Fatalf("%v cannot be packed: %v", list, err)
		}
		back, err := Decode(again)
		if err != nil {
			t.Fatalf("%v was packed to %x: %v", list, again, err)
		}
		if diff := cmp.Diff(list, back); diff != "" {
			t.Fatal(diff)
		}
	})
}
