package dockerstore

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// What Docker knows a layer for that no image or container has.
const (
	BuildCache = "build cache"
	Leaving    = "removed at Docker's next start"
)

// buildsName is where dockerd's BuildKit keeps which layers it has made
// (builder/builder-next/adapters/snapshot).
const buildsName = "buildkit/snapshots.db"

// openTimeout is how long a running dockerd, which has the file locked all the
// time, is waited for.
const openTimeout = 100 * time.Millisecond

// BuildKitID reports whether a layer's ID is one that BuildKit chooses.
func BuildKitID(id string) bool { return buildKitID.MatchString(id) }

var buildKitID = regexp.MustCompile(`^[a-z0-9]{25}$`)

// builds reads the IDs of layers that BuildKit knows. Its records are a database
// that only one process opens: not while dockerd runs.
func (r *reader) builds() error {
	f, err := r.open(buildsName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	f.Close()
	if err := r.readBuilds(filepath.Join(r.dir, buildsName)); err != nil {
		r.damaged(buildsName, err)
	}
	return nil
}

func (r *reader) readBuilds(file string) (err error) {
	// The database trusts its pages.
	defer func() {
		if v := recover(); v != nil {
			err = fault.New(fault.Invalid, "the database is damaged: %v", v)
		}
	}()
	db, err := bbolt.Open(file, 0, &bbolt.Options{ReadOnly: true, Timeout: openTimeout})
	if errors.Is(err, bolterrors.ErrTimeout) {
		r.records.BuildsLocked = true
		return nil
	}
	if err != nil {
		return fmt.Errorf("the database does not open: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(key []byte, b *bbolt.Bucket) error {
			r.records.Others[string(key)] = BuildCache
			if committed := b.Get([]byte("committed")); committed != nil {
				r.records.Others[string(committed)] = BuildCache
			}
			return nil
		})
	})
}
