package dockerstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/overlayzfs/overlayzfs/internal/boltcopy"
	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// The uses of layers that belong to no image or container.
const (
	BuildCache     = "build cache"
	PendingRemoval = "removed at Docker's next start"
)

// buildsName is BuildKit's database of the layers that it has created
// (builder/builder-next/adapters/snapshot).
const buildsName = "buildkit/snapshots.db"

// openTimeout is the longest wait for the database's lock. A running dockerd holds it
// all the time.
const openTimeout = 100 * time.Millisecond

// IsBuildKitID reports whether BuildKit chose a layer's ID.
func IsBuildKitID(id string) bool { return buildKitID.MatchString(id) }

var buildKitID = regexp.MustCompile(`^[a-z0-9]{25}$`)

// readBuilds reads the IDs of BuildKit's layers. Only one process can open the database,
// so this fails while dockerd runs and sets BuildsLocked.
func (r *reader) readBuilds() error {
	f, err := r.open(buildsName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	f.Close()
	if err := boltcopy.RecoverPanic(func() error { return r.readBuildDatabase(filepath.Join(r.dir, buildsName)) }); err != nil {
		r.addDamage(buildsName, err)
	}
	return nil
}

// ReadBuildLayers returns the layer IDs in a database of BuildKit's. It fails with
// fault.Busy while dockerd has the database open.
func ReadBuildLayers(file string) (ids []string, err error) {
	r := &reader{records: &Records{OtherLayers: map[string]string{}}}
	if err := boltcopy.RecoverPanic(func() error { return r.readBuildDatabase(file) }); err != nil {
		return nil, err
	}
	if r.records.BuildsLocked {
		return nil, fault.New(fault.Busy, "%s is open in another process", file)
	}
	for id := range r.records.OtherLayers {
		if layerID.MatchString(id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

func (r *reader) readBuildDatabase(file string) (err error) {
	db, err := bbolt.Open(file, 0, &bbolt.Options{ReadOnly: true, Timeout: openTimeout})
	if errors.Is(err, bolterrors.ErrTimeout) {
		r.records.BuildsLocked = true
		return nil
	}
	if err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return db.View(func(tx *bbolt.Tx) error {
		fi, err := os.Stat(file)
		if err == nil {
			err = boltcopy.CheckComplete(fi, tx)
		}
		if err != nil {
			return err
		}
		return tx.ForEach(func(key []byte, b *bbolt.Bucket) error {
			r.records.OtherLayers[string(key)] = BuildCache
			if committed := b.Get([]byte("committed")); committed != nil {
				r.records.OtherLayers[string(committed)] = BuildCache
			}
			return nil
		})
	})
}
