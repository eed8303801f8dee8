package send

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// TestOutputAppearsWhenComplete, not before, and overwrites nothing.
func TestOutputAppearsWhenComplete(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "stream")
	for _, whole := range []bool{false, true} {
		p, err := NewOutput(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(name); err == nil {
			t.Error("the file exists before it is complete")
		}
		end := p.Discard
		if whole {
			end = func() error { return errors.Join(p.Sync(), p.Name()) }
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if entries, err := os.ReadDir(dir); err != nil || whole != (len(entries) == 1) {
			t.Errorf("%v, %v", entries, err)
		}
	}
	if err := CheckFree(name); !errors.Is(err, fault.Exists) {
		t.Errorf("of one that is there: %v", err)
	}
}

// TestCompleteStreamIsKept when its name is taken: the error says where it is.
func TestCompleteStreamIsKept(t *testing.T) {
	name := filepath.Join(t.TempDir(), "stream")
	p, err := NewOutput(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte("somebody's"), 0o600); err != nil { // meanwhile
		t.Fatal(err)
	}
	if err := errors.Join(p.Sync(), p.Name()); err == nil || !strings.Contains(err.Error(), p.file.Name()) {
		t.Errorf("it says %v", err)
	}
	for path, want := range map[string]string{name: "somebody's", p.file.Name(): "x"} {
		if raw, err := os.ReadFile(path); string(raw) != want || err != nil {
			t.Errorf("%s holds %q, %v", path, raw, err)
		}
	}
}
