package dockerconf

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDecode(t *testing.T) {
	for text, want := range map[string]Config{
		"":    {DataRoot: DefaultDataRoot},
		" {}": {DataRoot: DefaultDataRoot},
		`{"data-root":"/srv","storage-driver":"overlayzfs","storage-opts":["overlayzfs.dataset=tank/a"],"experimental":true,"log-driver":"local"}`: {
			DataRoot: "/srv", StorageDriver: "overlayzfs", StorageOpts: []string{"overlayzfs.dataset=tank/a"}, Experimental: true,
		},
	} {
		got, err := Decode([]byte(text))
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", text, err, diff)
		}
	}
}

// TestWhereItIsWrong: a person finds the place.
func TestWhereItIsWrong(t *testing.T) {
	for text, position := range map[string]string{
		"{\n  \"experimental\": true,\n}": "line 3, column 1",
		"{\n  \"experimental\": \"yes\"}": "line 2, column",
		"{":                               "line 1",
	} {
		if _, err := Decode([]byte(text)); err == nil || !strings.Contains(err.Error(), position) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "daemon.json")
	if c, err := Read(path); err != nil || c.DataRoot != DefaultDataRoot {
		t.Errorf("%+v, %v", c, err)
	}
	if err := os.WriteFile(path, []byte("{,"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("%v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"data-root":"/srv","storage-opts":["a=b"],"features":{"x":true}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if c, err := Decode(raw); err == nil && c.DataRoot == "" {
			t.Error("no data-root")
		}
	})
}
