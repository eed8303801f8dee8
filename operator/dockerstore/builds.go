package dockerstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// What Docker knows a layer for that no image or container has.
const (
	BuildCache     = "build cache"
	PendingRemoval = "removed at Docker's next start"
)

// buildsName is where dockerd's BuildKit keeps which layers it has made
// (builder/builder-next/adapters/snapshot).
const buildsName = "buildkit/snapshots.db"

// openTimeout is how long a running dockerd, which has the file locked all the
// time, is waited for.
const openTimeout = 100 * time.Millisecond

// IsBuildKitID reports whether a layer's ID is one that BuildKit chooses.
func IsBuildKitID(id string) bool { return buildKitID.MatchString(id) }

var buildKitID = regexp.MustCompile(`^[a-z0-9]{25}$`)

// readBuilds reads the IDs of layers that BuildKit knows. Its records are a database
// that only one process opens: not while dockerd runs.
func (r *reader) readBuilds() error {
	f, err := r.open(buildsName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	f.Close()
	if err := recoverPanic(func() error { return r.readBuildDatabase(filepath.Join(r.dir, buildsName)) }); err != nil {
		r.addDamage(buildsName, err)
	}
	return nil
}

// ReadBuildLayers are the IDs of layers that a database of BuildKit's names which no
// dockerd has open.
func ReadBuildLayers(file string) (ids []string, err error) {
	r := &reader{records: &Records{OtherLayers: map[string]string{}}}
	if err := recoverPanic(func() error { return r.readBuildDatabase(file) }); err != nil {
		return nil, err
	}
	if r.records.BuildsLocked {
		return nil, fault.New(fault.Busy, "%s is open elsewhere", file)
	}
	for id := range r.records.OtherLayers {
		if layerID.MatchString(id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// recoverPanic runs what trusts the pages of a database, which are a file's, mapped:
// what is wrong in them is a panic, and what is missing of them a fault of memory.
func recoverPanic(run func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if v := recover(); v != nil {
			err = fault.New(fault.Invalid, "the database is damaged: %v", v)
		}
	}()
	return run()
}

func (r *reader) readBuildDatabase(file string) (err error) {
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
		if err := checkComplete(file, tx); err != nil {
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

// checkComplete makes sure that the file has all pages that its head tells of.
func checkComplete(file string, tx *bbolt.Tx) error {
	fi, err := os.Stat(file)
	if err == nil && fi.Size() < tx.Size() {
		err = fault.New(fault.Invalid, "the database has %d bytes and should have %d", fi.Size(), tx.Size())
	}
	return err
}
