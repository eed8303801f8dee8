package dockerstore

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"
)

// builds writes BuildKit's database: keys, and what they were committed from.
func (s testRoot) builds(snapshots map[string]string) {
	s.Helper()
	s.write(buildsName, "")
	db, err := bbolt.Open(filepath.Join(s.dir, buildsName), 0o600, nil)
	if err != nil {
		s.Fatal(err)
	}
	defer db.Close()
	err = db.Update(func(tx *bbolt.Tx) error {
		for key, committed := range snapshots {
			b, err := tx.CreateBucket([]byte(key))
			if err == nil && committed != "" {
				err = b.Put([]byte("committed"), []byte(committed))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		s.Fatal(err)
	}
}

// TestARunningEngineHasItsBuildsLocked: they are not known then, and it is said.
func TestARunningEngineHasItsBuildsLocked(t *testing.T) {
	s := newTestRoot(t)
	s.layer("", "base", "a")
	s.builds(nil)
	db, err := bbolt.Open(filepath.Join(s.dir, buildsName), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if got := s.read(); len(got.Damaged) > 0 || !got.BuildsLocked {
		t.Errorf("locked %v, %v", got.BuildsLocked, got.Damaged)
	}
}

// TestATruncatedDatabaseIsDamaged, and does not end the process: the database is
// mapped, and what is missing of it is a fault of memory.
func TestATruncatedDatabaseIsDamaged(t *testing.T) {
	many := map[string]string{}
	for i := range 2000 {
		many[hexID(fmt.Sprint(i))] = hexID(fmt.Sprint("of ", i))
	}
	s := newTestRoot(t)
	s.layer("", "base", "a")
	s.builds(many)
	path := filepath.Join(s.dir, buildsName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{0, 1, 4096, 3 * 4096, len(whole) / 4, len(whole) / 2} {
		s.write(buildsName, string(whole[:size]))
		if got := s.read(); len(got.Damaged) != 1 || got.Damaged[0].Path != buildsName {
			t.Errorf("of %d bytes: %v", size, got.Damaged)
		}
	}
	s.write(buildsName, string(whole))
	if got := s.read(); len(got.Damaged) > 0 || len(got.OtherLayers) != 2*len(many) {
		t.Errorf("whole: %v, %d", got.Damaged, len(got.OtherLayers))
	}
}
