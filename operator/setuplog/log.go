// Package setuplog is the log of what `overlayzfs setup` changes on a host. Each change is in the
// log, on disk, before it is made, so that a setup that was killed can be undone, too. Package
// host undoes it.
package setuplog

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/overlayzfs/overlayzfs/internal/atomicfile"
	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/configfile"
)

// DefaultFile is the log of this host.
const DefaultFile = "/var/lib/overlayzfs/setup.log"

// Kind is what a record is of.
type Kind string

// The kinds of records.
const (
	File     Kind = "file"     // Path was written; Service reads it
	Dir      Kind = "dir"      // Path was made
	Dataset  Kind = "dataset"  // Name was created
	Property Kind = "property" // Property of Name was set
	Unit     Kind = "unit"     // Name was enabled, or started
	Plugin   Kind = "plugin"   // Name was created
	Enabling Kind = "enabling" // the plugin Name was enabled
	Move     Kind = "move"     // the data-root Path was moved to Name
	Restart  Kind = "restart"  // an undo restores files of the unit Name, and has to restart it
)

// Record is one change.
type Record struct {
	Kind Kind   `json:"kind"`
	Name string `json:"name,omitempty"`
	Path string `json:"path,omitempty"`
	// Before and After are digests of a file's content, or "" for no file. Backup is a copy of
	// the former file.
	Before  string `json:"before,omitempty"`
	After   string `json:"after,omitempty"`
	Backup  string `json:"backup,omitempty"`
	Service string `json:"service,omitempty"`
	// Property had Value, and After was set. It was inherited, or had its default, unless Local is set.
	Property string `json:"property,omitempty"`
	Value    string `json:"value,omitempty"`
	Local    bool   `json:"local,omitempty"`
	// WasEnabled and WasActive are a unit's state before.
	WasEnabled bool `json:"wasEnabled,omitempty"`
	WasActive  bool `json:"wasActive,omitempty"`
}

// Digest returns the digest of a file's content.
func Digest(raw []byte) string {
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

// Log is a log at a path.
type Log struct{ Path string }

// Append adds records, and returns when they are on disk. A nil Log keeps nothing.
func (l *Log) Append(records ...Record) error {
	if l == nil || len(records) == 0 {
		return nil
	}
	dir := filepath.Dir(l.Path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	all, err := l.Read()
	if err != nil {
		return err
	}
	return l.Save(append(all, records...))
}

// Read returns the records, the oldest first.
func (l *Log) Read() (all []Record, err error) {
	raw, err := configfile.Read(l.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for line := range bytes.Lines(raw) {
		var r Record
		if err := json.Unmarshal(line, &r); err != nil {
			return nil, fault.New(fault.Invalid, "%s: %w", l.Path, err)
		}
		all = append(all, r)
	}
	return all, nil
}

// Save makes records all that the log has. Without records it removes the log, and its directory
// if nothing else is there.
func (l *Log) Save(records []Record) error {
	if len(records) == 0 {
		err := os.Remove(l.Path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		_ = os.Remove(filepath.Dir(l.Path)) // something else may be there
		return err
	}
	text := &bytes.Buffer{}
	for _, r := range records {
		if err := json.NewEncoder(text).Encode(r); err != nil {
			return err
		}
	}
	return atomicfile.Replace(l.Path, text.Bytes(), atomicfile.Options{Mode: 0o600, Durability: atomicfile.ContentAndName})
}
