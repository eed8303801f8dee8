package setuplog

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

func TestLog(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	l := &Log{filepath.Join(dir, "setup.log")}
	first, second := Record{Kind: Dataset, Name: "tank/d"}, Record{Kind: File, Path: "/x", After: Digest([]byte("x"))}
	if all, err := l.Read(); len(all) > 0 || err != nil {
		t.Errorf("no log: %v, %v", all, err)
	}
	if err := errors.Join(l.Append(), l.Append(first), l.Append(second, first)); err != nil {
		t.Fatal(err)
	}
	all, err := l.Read()
	if diff := cmp.Diff([]Record{first, second, first}, all); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	if err := l.Save(all[:1]); err != nil {
		t.Fatal(err)
	}
	if all, err := l.Read(); len(all) != 1 || err != nil {
		t.Errorf("%v, %v", all, err)
	}
	if err := errors.Join(l.Save(nil), l.Save(nil)); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is left: %v", err)
	}
	var none *Log
	if err := none.Append(first); err != nil {
		t.Error(err)
	}
}

func TestDamagedLog(t *testing.T) {
	l := &Log{filepath.Join(t.TempDir(), "setup.log")}
	if err := os.WriteFile(l.Path, []byte("{\"kind\":\"file\"}\n{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Read(); !errors.Is(err, fault.Invalid) {
		t.Error(err)
	}
}
